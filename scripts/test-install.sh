#!/usr/bin/env bash
# Types what docs/OPERATIONS.md tells somebody who has nothing, up to a paid invoice and restored backups: test-install.sh.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh postgres node browser
[ -n "${QUITTANCE_BIN:-}" ] || cargo build --locked
QUITTANCE_BIN="${QUITTANCE_BIN:-$CARGO_TARGET_DIR/debug/quittance}" node tests/install/run.mjs
