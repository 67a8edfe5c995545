#!/usr/bin/env bash
# Started by the harness in this folder of its checkout; ends when it is asked to.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec node adapter.mjs
