#!/usr/bin/env bash
# The long runs behind docs/RELIABILITY.md: evidence.sh [arguments of the test binary].
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh
QUITTANCE_EVIDENCE=full exec cargo test --locked --release --test api evidence:: -- --nocapture --test-threads=1 "$@"
