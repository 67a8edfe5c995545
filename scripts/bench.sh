#!/usr/bin/env bash
# The measurements behind docs/PERFORMANCE.md: bench.sh [names of benchmarks]. Fails if a limit is missed. BENCH_ROUNDS and BENCH_SCALE are
# explained there.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

[ $# -gt 0 ] || set -- watcher facilitator
scripts/setup.sh
missed=0
for bench in "$@"; do
  cargo bench --locked --bench "$bench" || missed=1
done
exit "$missed"
