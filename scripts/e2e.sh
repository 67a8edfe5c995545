#!/usr/bin/env bash
# Runs the end-to-end harness of the x402 repository against this service: e2e.sh CHECKOUT [options of the harness]. The checkout needs its
# e2e/.env with funded accounts, as its own README says; the accounts' networks are those of the harness unless EVM_NETWORK, EVM_RPC_URL,
# SVM_NETWORK and SVM_RPC_URL name others.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

[ -d "${1-}/e2e" ] || fail "e2e.sh CHECKOUT: a checkout of the x402 repository"
checkout=$(cd "$1" && pwd)
shift
[ -n "${QUITTANCE_BIN:-}" ] || cargo build --locked
export QUITTANCE_BIN="${QUITTANCE_BIN:-$CARGO_TARGET_DIR/debug/quittance}"

# The harness keeps those who are not of its repository in a folder that git ignores there.
adapter="$checkout/e2e/facilitators/external-proxies/quittance"
mkdir -p "$(dirname "$adapter")"
rm -rf "$adapter"
cp -r tests/clients/e2e/quittance "$adapter"
cd "$checkout/e2e"
[ $# -gt 0 ] || set -- --testnet --min -v
pnpm install
exec pnpm test "$@" --facilitators=quittance
