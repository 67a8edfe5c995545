#!/usr/bin/env bash
# Asks this service and the reference facilitator about the same payments: differential.sh [options of dev/differential.mjs].
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh
[ -n "${QUITTANCE_BIN:-}" ] || cargo build --locked
QUITTANCE_BIN="${QUITTANCE_BIN:-$CARGO_TARGET_DIR/debug/quittance}" node dev/differential.mjs "$@"
