#!/usr/bin/env bash
# Builds the service and runs the demo on local chains: demo.sh [options of dev/demo.mjs].
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh
cargo build --release --locked
# The local Solana node comes as a program for this system only.
solana=()
if [ "$(uname -sm)" = "Linux x86_64" ] && [ -d dev/node_modules/@solana/surfpool-linux-x64-gnu ]; then solana=(--solana); fi
exec env QUITTANCE_BIN="$CARGO_TARGET_DIR/release/quittance" node dev/demo.mjs "${solana[@]}" "$@"
