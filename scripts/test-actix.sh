#!/usr/bin/env bash
# Buys from routes behind quittance-actix, with the official client, through the service on local chains: test-actix.sh [--metered]
# [options of tests/actix/run.mjs]. With --metered it buys by use, where the service offers the scheme upto.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh
cargo build --locked "${PACKAGES[@]}" --bins --examples
export QUITTANCE_BIN="${QUITTANCE_BIN:-$CARGO_TARGET_DIR/debug/quittance}"
if [ "${1:-}" = --metered ]; then exec node tests/actix/metered.mjs; fi
node tests/actix/run.mjs "$@"
