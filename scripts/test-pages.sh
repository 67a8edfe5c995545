#!/usr/bin/env bash
# Looks at the pages in a browser, on local chains with real transfers: test-pages.sh [options of tests/pages/run.mjs].
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh postgres node browser
[ -n "${QUITTANCE_BIN:-}" ] || cargo build --locked
QUITTANCE_BIN="${QUITTANCE_BIN:-$CARGO_TARGET_DIR/debug/quittance}" node tests/pages/run.mjs "$@"
