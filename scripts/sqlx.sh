#!/usr/bin/env bash
# Asks a fresh database about every query and writes the answers into .sqlx, from which ordinary builds check queries.
# With --check: writes nothing, and fails if .sqlx is not what would be written.
#
# With SQLX_OFFLINE_DIR and a database at DATABASE_URL, the query macros write what they learn into that directory, one file for
# each query. They do so only when rustc expands them, so the crate must be compiled anew.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

case ${1-} in
  '' | --check) ;;
  *) fail "sqlx.sh [--check]" ;;
esac

scripts/setup.sh postgres
server=$(mktemp -d)
queries=$(mktemp -d)
trap 'scripts/postgres.sh stop "$server" 2>/dev/null || true; rm -rf "$server" "$queries"' EXIT

url=$(scripts/postgres.sh start "$server")
for migration in migrations/*.sql; do
  "$(postgres_bin)/psql" "$url" --quiet --no-psqlrc --set ON_ERROR_STOP=1 --file "$migration"
done
touch src/lib.rs
SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$queries" DATABASE_URL="$url" cargo check --locked --all-targets

count=$(find "$queries" -name 'query-*.json' | wc -l)
[ "$count" -gt 0 ] || fail "no query was written"
if [ "${1-}" = --check ]; then
  diff --recursive --brief .sqlx "$queries" || fail ".sqlx is not up to date: run make sqlx"
  say ".sqlx: $count queries, up to date"
else
  mkdir -p .sqlx
  find .sqlx -name 'query-*.json' -delete
  cp "$queries"/query-*.json .sqlx/
  say ".sqlx: $count queries"
fi
