#!/usr/bin/env bash
# The API against its description: whether docs/openapi.json is an OpenAPI document, whether docs/API.md says what the service answers, and
# whether requests that a program makes up from the document are answered as it says. It is the debug binary's test unless QUITTANCE_BIN
# names another.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh postgres node contract
[ -n "${QUITTANCE_BIN:-}" ] || cargo build --locked
export PATH="$TOOLS/contract/bin:$PATH"

say '--- the document'
openapi-spec-validator docs/openapi.json

say '--- the page, and strangers'
QUITTANCE_BIN="${QUITTANCE_BIN:-$CARGO_TARGET_DIR/debug/quittance}" node tests/contract/run.mjs --strangers
