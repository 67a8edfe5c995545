# Sourced by every script here: the root of the repository, where cargo builds, and how queries are checked.
# shellcheck shell=bash
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Outside the repository, so that several checkouts share what they build.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/quittance/target}"

# Tools that cargo installs for us, beside what it builds.
TOOLS="${QUITTANCE_TOOLS:-$HOME/.cache/quittance/tools}"
export PATH="$TOOLS/bin:$PATH"

# Queries are checked against .sqlx. Only scripts/sqlx.sh asks a database.
export SQLX_OFFLINE=true

# What is ours to test and look at; the fuzzer, which is C++ for the most part, is built when it runs.
PACKAGES=(--package quittance --package quittance-actix)

# The oldest PostgreSQL that the ledger's SQL is written for (src/ledger/private/programs.rs).
POSTGRES_MIN=15

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

# The major version of the PostgreSQL programs in a directory; nothing if they are not there.
postgres_major() {
  [ -x "$1/postgres" ] && [ -x "$1/initdb" ] || return 0
  { "$1/postgres" --version 2>/dev/null || true; } | sed -n 's/^postgres (PostgreSQL) \([0-9]*\).*/\1/p'
}

# The directory of PostgreSQL programs that are new enough: Debian's newest first, then what PATH has.
postgres_bin() {
  local bin major
  while read -r bin; do
    major=$(postgres_major "$bin")
    if [ "${major:-0}" -ge "$POSTGRES_MIN" ]; then printf '%s\n' "$bin"; return; fi
  done < <(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -rV; tr ':' '\n' <<<"$PATH")
}
