#!/usr/bin/env bash
# The measurements behind docs/PERFORMANCE.md: bench.sh [arguments of the benchmark].
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh
exec cargo bench --locked --bench facilitator -- "$@"
