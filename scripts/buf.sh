#!/usr/bin/env bash
# Looks at the gRPC contract: its form, and whether it breaks callers of the last release, or of the commit that is named: buf.sh [COMMIT].
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh node
buf=dev/node_modules/.bin/buf

"$buf" lint proto
"$buf" format proto --diff --exit-code

# What callers have is what was released.
known=${1:-$(git describe --tags --abbrev=0 2>/dev/null || true)}
if [ -z "$known" ] || ! git cat-file -e "$known:proto/buf.yaml" 2>/dev/null; then
  say "no release has a contract yet, so nothing can break"
  exit 0
fi
before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
git archive "$known" proto | tar -x -C "$before"
"$buf" breaking proto --against "$before/proto"
