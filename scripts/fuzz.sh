#!/usr/bin/env bash
# Fuzzes what reads the words of strangers: fuzz.sh [seconds [reader ...]], each reader for so long. Begins with fuzz/corpus, and keeps
# there as few inputs as lead to all places in the code that any has led to. An input that fails is left in fuzz/artifacts.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

READERS=(decoder request logs block receipt words permit called typed order outcomes frames framing forwarded cursor timeout)

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
  mkdir -p "$corpus" "$found/$reader" "$found/kept-$reader"
  "$fuzzer" "$found/$reader" "$corpus" "${limits[@]}" -max_total_time="$seconds" -print_final_stats=1
  "$fuzzer" "$found/kept-$reader" "$corpus" "$found/$reader" "${limits[@]}" -use_counters=0 -set_cover_merge=1
  rm -r "$corpus"
  cp -r "$found/kept-$reader" "$corpus"
  say "$corpus: $(find "$corpus" -type f | wc -l) inputs"
done
