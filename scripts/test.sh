#!/usr/bin/env bash
# Every test: the library and the service from the outside, the contracts, the demo from start to end, and the calls of docs/API.md.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh

say '--- cargo test'
cargo test --locked

say '--- contracts'
node contracts/build.mjs --check
node contracts/check-simulator.mjs

say '--- vectors'
node dev/svm-vectors.mjs --check

say '--- demo'
QUITTANCE_BIN="$CARGO_TARGET_DIR/debug/quittance" node dev/demo.mjs --once --sei --solana

say '--- docs/API.md'
QUITTANCE_BIN="$CARGO_TARGET_DIR/debug/quittance" node tests/contract/run.mjs
