#!/usr/bin/env bash
# Writes docs/openapi.json anew: what the code says of its API.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

# Not over the old one, which a failure would leave empty.
document=$(mktemp)
trap 'rm -f "$document"' EXIT
cargo run --locked --quiet -- openapi >"$document"
cp "$document" docs/openapi.json
