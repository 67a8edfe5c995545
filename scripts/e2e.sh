#!/usr/bin/env bash
# Runs the end-to-end harness of the x402 repository against this service on local chains: e2e.sh CHECKOUT [options of the harness].
# Without options it buys what tests/clients/e2e/run.mjs lists. What it installs and builds stays in the checkout.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

# The version that the checkout was made with; another one would fetch this one.
PNPM_VERSION=10.7.0

[ -d "${1-}/e2e" ] || fail "e2e.sh CHECKOUT: a checkout of the x402 repository"
checkout=$(cd "$1" && pwd)
shift

setup_pnpm() {
  export PATH="$TOOLS/pnpm/node_modules/.bin:$PATH"
  [ "$(pnpm --version 2>/dev/null)" = "$PNPM_VERSION" ] || npm install --prefix "$TOOLS/pnpm" --no-audit --no-fund "pnpm@$PNPM_VERSION"
}

# The packages that its servers and clients are made of are built from the checkout, once for each commit of it. Only those that
# tests/clients/e2e/run.mjs names are there: others need Python with uv, or Go.
setup_harness() {
  local commit mark="$checkout/e2e/node_modules/.quittance" wanted=() made_of=() part
  commit=$(git -C "$checkout" rev-parse HEAD)
  [ "$(cat "$mark" 2>/dev/null)" != "$commit" ] || return 0
  for part in servers/express servers/hono clients/fetch clients/axios legacy/{servers/{express,hono},clients/{fetch,axios}}; do
    wanted+=(--filter "{./$part}...")
    made_of+=(--filter "{./$part}^...")
  done
  (
    cd "$checkout/e2e"
    # Some packages are to come from a registry that only their authors reach. They are in the usual one, with the same contents.
    sed -i '/integrity:/s/, tarball: [^},]*//' pnpm-lock.yaml
    pnpm install --frozen-lockfile --filter x402-e2e "${wanted[@]}"
    # To describe the types takes ten times as long as all the rest, and nothing here reads them.
    pnpm "${made_of[@]}" run build --no-dts
  )
  printf '%s\n' "$commit" >"$mark"
}

scripts/setup.sh
[ -n "${QUITTANCE_BIN:-}" ] || cargo build --locked
export QUITTANCE_BIN="${QUITTANCE_BIN:-$CARGO_TARGET_DIR/debug/quittance}"
setup_pnpm
setup_harness

# The harness keeps those who are not of its repository in a folder that git ignores there.
adapter="$checkout/e2e/facilitators/external-proxies/quittance"
rm -rf "$adapter"
cp -r tests/clients/e2e/quittance "$adapter"

# It kills whoever has one of its ports and its servers listen on every interface, so it gets a network of its own, with nothing but
# loopback in it.
namespace=(unshare --net)
[ "$(id -u)" = 0 ] || namespace=(unshare --user --map-root-user --net)
# shellcheck disable=SC2016
exec "${namespace[@]}" -- bash -c 'ip link set lo up && exec node tests/clients/e2e/run.mjs "$@"' - "$checkout" "$@"
