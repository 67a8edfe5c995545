#!/usr/bin/env bash
# Builds the service and runs the demo on local chains: demo.sh [options of dev/demo.mjs].
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh
cargo build --release --locked
exec env QUITTANCE_BIN="$CARGO_TARGET_DIR/release/quittance" node dev/demo.mjs "$@"
