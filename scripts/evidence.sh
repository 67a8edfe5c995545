#!/usr/bin/env bash
# The long runs behind docs/RELIABILITY.md: evidence.sh [names of tests]. Their figures are written into that page: of named
# tests only their own rows, each with its day, so that a row never looks younger than its run. Without names, every alert of dev/alarms.mjs
# goes off as well.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

everything=
[ $# -gt 0 ] || { everything=1; set -- evidence::; }
scripts/setup.sh
output=$(mktemp)
trap 'rm -f "$output" "$output".*' EXIT
QUITTANCE_EVIDENCE=full cargo test --locked --release --test api -- "$@" --nocapture --test-threads=1 | tee "$output"

sed -n "s/^.*evidence: \([^:]*\): \(.*\)$/| \1 | $(date -u +%F) | \2 |/p" "$output" >"$output.rows"
[ -s "$output.rows" ] || fail "no figure was printed"
page=docs/RELIABILITY.md
: >"$output.old"
[ "$*" = evidence:: ] || sed -n '/<!-- evidence:begin -->/,/<!-- evidence:end -->/s/^\(| [^|]* | [0-9-]* | .*\)$/\1/p' "$page" >"$output.old"
{
  sed '/<!-- evidence:begin -->/q' "$page"
  printf '| run | measured | figures |\n|---|---|---|\n'
  # The new rows come first, so that of each name the first one stays.
  cat "$output.rows" "$output.old" | awk -F ' [|] ' '!seen[$1]++' | LC_ALL=C sort
  sed -n '/<!-- evidence:end -->/,$p' "$page"
} >"$output.page"
mv "$output.page" "$page"
say "$page: $(wc -l <"$output.rows") figures"
[ -z "$everything" ] || QUITTANCE_BIN="$CARGO_TARGET_DIR/release/quittance" scripts/check-deploy.sh --alarms --write
