#!/usr/bin/env bash
# Fuzzes the decoder of Solana's transactions beside the SDK's: fuzz.sh [seconds]. Begins with fuzz/corpus, and keeps there what
# leads to places in the code that nothing else there leads to. An input that fails is left in fuzz/artifacts.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

seconds=${1:-600}
corpus=fuzz/corpus/decoder
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
mkdir -p "$corpus" fuzz/artifacts

export RUSTC_WORKSPACE_WRAPPER="$PWD/fuzz/instrumented"
cargo build --locked --release --package quittance-fuzz
fuzzer="$CARGO_TARGET_DIR/release/decoder"
limits=(-max_len=1300 -timeout=5 -rss_limit_mb=512 -artifact_prefix=fuzz/artifacts/)
"$fuzzer" "$found" "$corpus" "${limits[@]}" -max_total_time="$seconds" -print_final_stats=1
"$fuzzer" "$corpus" "$found" "${limits[@]}" -merge=1
say "$corpus: $(find "$corpus" -type f | wc -l) inputs"
