#!/usr/bin/env bash
# The measurements behind docs/PERFORMANCE.md: bench.sh [arguments of the benchmark]. Fails if a limit is missed.
# BENCH_ROUNDS and BENCH_SCALE are explained there.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh
exec cargo bench --locked --bench facilitator -- "$@"
