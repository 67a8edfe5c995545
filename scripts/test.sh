#!/usr/bin/env bash
# Every test: the libraries and the service from the outside, the contracts, shops behind quittance-actix, one of other people's clients in
# each language, the pages in a browser, the chart, alerts and dashboards with a running service, the demo from start to end,
# the calls of docs/API.md, and what docs/OPERATIONS.md tells somebody who has nothing.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh

say '--- cargo test'
cargo test --locked "${PACKAGES[@]}"

say '--- keys in AWS KMS'
scripts/test-kms.sh

say '--- contracts'
node contracts/build.mjs --check
node contracts/check-simulator.mjs

say '--- vectors'
node dev/svm-vectors.mjs --check

export QUITTANCE_BIN="$CARGO_TARGET_DIR/debug/quittance"

say '--- paid routes of actix-web'
node tests/actix/run.mjs
node tests/actix/metered.mjs

say '--- pages'
scripts/test-pages.sh

say '--- chart, alerts and dashboards'
scripts/check-deploy.sh --live

say "--- other people's clients"
scripts/test-clients.sh --fast

say '--- demo'
node dev/demo.mjs --once --sei --solana

say '--- docs/API.md'
node tests/contract/run.mjs

say '--- docs/OPERATIONS.md'
scripts/test-install.sh
