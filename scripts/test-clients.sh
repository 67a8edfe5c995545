#!/usr/bin/env bash
# Runs other people's clients and servers against the service: test-clients.sh [options of tests/clients/run.mjs]. It installs what is
# missing of theirs outside the repository, with --fast only what a quick run needs, and is the debug binary's test unless QUITTANCE_BIN
# names another. Those in Go take part when QUITTANCE_X402_CHECKOUT names a checkout of the x402 repository.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

export QUITTANCE_CLIENTS="${QUITTANCE_CLIENTS:-${XDG_CACHE_HOME:-$HOME/.cache}/quittance/clients}"
mkdir -p "$QUITTANCE_CLIENTS"
GO_CLIENTS="$QUITTANCE_CLIENTS/go"

fast=
for option in "$@"; do [ "$option" != --fast ] || fast=1; done

# Does what follows unless it has been done for exactly these files.
unless_done() {
  local name=$1 files=$2 sum
  shift 2
  # shellcheck disable=SC2086
  sum=$(cat $files | sha256sum)
  [ "$(cat "$QUITTANCE_CLIENTS/$name.done" 2>/dev/null)" != "$sum" ] || return 0
  say "installing the $name clients"
  "$@"
  printf '%s\n' "$sum" >"$QUITTANCE_CLIENTS/$name.done"
}

install_npm() {
  (cd tests/clients/npm && npm ci --ignore-scripts --omit=optional --no-audit --no-fund)
}

install_python() {
  local environment="$QUITTANCE_CLIENTS/python-v$1"
  rm -rf "$environment"
  python3 -m venv "$environment"
  "$environment/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement "tests/clients/python/v$1.txt"
}

# The only one in Rust of a quick run: it signs without asking a node, so it is compiled without the crates that ask one, and without
# Solana's. That takes four and a half minutes of computing, which is less than three where nobody else uses the two cores.
build_rust_fast() {
  cargo build --locked --manifest-path tests/clients/rust/Cargo.toml --package clients-r402 --bin r402-client --no-default-features
}

# One job, because others may build on this machine; the dependencies are built once.
build_rust() {
  nice cargo build --locked --jobs 1 --manifest-path tests/clients/rust/Cargo.toml
}

# Go's command builds only what has changed. Where the SDK is stands in a copy of go.mod; what it is, beside the programs, for list.mjs.
build_go() {
  local sdk commit release
  [ -f "$QUITTANCE_X402_CHECKOUT/go/go.mod" ] || fail "QUITTANCE_X402_CHECKOUT: a checkout of the x402 repository"
  sdk=$(cd "$QUITTANCE_X402_CHECKOUT/go" && pwd)
  commit=$(git -C "$sdk" rev-parse HEAD)
  release=$(sed -n '/^## v/{s/^## v\([^ ]*\).*/\1/p;q}' "$sdk/CHANGELOG.md")
  mkdir -p "$GO_CLIENTS"
  cp tests/clients/go/go.{mod,sum} "$GO_CLIENTS/"
  go mod edit -replace "github.com/x402-foundation/x402/go=$sdk" "$GO_CLIENTS/go.mod"
  nice go build -C tests/clients/go -p 1 -modfile "$GO_CLIENTS/go.mod" -o "$GO_CLIENTS/" ./client ./server
  printf '%s (%s)\n' "$release" "${commit:0:7}" >"$GO_CLIENTS/version"
}

scripts/setup.sh
[ -n "${QUITTANCE_BIN:-}" ] || cargo build --locked
export QUITTANCE_BIN="${QUITTANCE_BIN:-$CARGO_TARGET_DIR/debug/quittance}"
python3 -c 'import venv, sys; sys.exit(sys.version_info < (3, 10))' || fail "Python 3.10 or newer is needed, with venv"
# The packages of npm stand in the checkout, where git ignores them; a new checkout has none.
[ -d tests/clients/npm/node_modules ] || rm -f "$QUITTANCE_CLIENTS/npm.done"
unless_done npm tests/clients/npm/package-lock.json install_npm
unless_done python-v2 tests/clients/python/v2.txt install_python 2
if [ "$fast" ]; then
  CARGO_TARGET_DIR="$CARGO_TARGET_DIR/clients" build_rust_fast
else
  unless_done python-v1 tests/clients/python/v1.txt install_python 1
  CARGO_TARGET_DIR="$CARGO_TARGET_DIR/clients" build_rust
  # Without its version list.mjs leaves Go out.
  rm -f "$GO_CLIENTS/version"
  if [ -n "${QUITTANCE_X402_CHECKOUT:-}" ]; then build_go
  else say "the clients in Go are left out: QUITTANCE_X402_CHECKOUT names no checkout of the x402 repository"; fi
fi

node tests/clients/run.mjs "$@"
node tests/clients/npm/with-extensions.mjs
