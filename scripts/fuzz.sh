#!/usr/bin/env bash
# Fuzzes what reads the words of strangers: fuzz.sh [seconds [reader ...]], each reader for so long. Begins with fuzz/corpus, and keeps
# there what leads to places in the code that nothing else there leads to. An input that fails is left in fuzz/artifacts.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

READERS=(decoder request logs block receipt words)

seconds=${1:-600}
shift || true
[ $# -gt 0 ] || set -- "${READERS[@]}"
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
mkdir -p fuzz/artifacts

export RUSTC_WORKSPACE_WRAPPER="$PWD/fuzz/instrumented"
cargo build --locked --release --package quittance-fuzz

# A message of Solana fits into a packet; anything else may be longer.
longest() { if [ "$1" = decoder ]; then echo 1300; else echo 6000; fi; }

fuzzer="$CARGO_TARGET_DIR/release/fuzzer"
for reader in "$@"; do
  corpus="fuzz/corpus/$reader"
  export QUITTANCE_FUZZ="$reader"
  limits=("-max_len=$(longest "$reader")" -timeout=5 -rss_limit_mb=512 "-artifact_prefix=fuzz/artifacts/$reader-")
  mkdir -p "$corpus" "$found/$reader"
  "$fuzzer" "$found/$reader" "$corpus" "${limits[@]}" -max_total_time="$seconds" -print_final_stats=1
  "$fuzzer" "$corpus" "$found/$reader" "${limits[@]}" -merge=1
  say "$corpus: $(find "$corpus" -type f | wc -l) inputs"
done
