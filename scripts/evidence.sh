#!/usr/bin/env bash
# The long runs behind docs/RELIABILITY.md: evidence.sh [arguments of the test binary]. Without arguments their figures are
# written into that page.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh
output=$(mktemp)
trap 'rm -f "$output"' EXIT
QUITTANCE_EVIDENCE=full cargo test --locked --release --test api evidence:: -- --nocapture --test-threads=1 "$@" | tee "$output"
[ $# = 0 ] || exit 0

figures=$(sed -n 's/^.*evidence: \([^:]*\): \(.*\)$/| \1 | \2 |/p' "$output")
[ -n "$figures" ] || fail "no figure was printed"
page=docs/RELIABILITY.md
{
  sed '/<!-- evidence:begin -->/q' "$page"
  printf 'Measured on %s.\n\n| run | figures |\n|---|---|\n%s\n' "$(date -u +%F)" "$figures"
  sed -n '/<!-- evidence:end -->/,$p' "$page"
} >"$output.page"
mv "$output.page" "$page"
say "$page: $(wc -l <<<"$figures") figures"
