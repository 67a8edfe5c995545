#!/usr/bin/env bash
# What can be said without running anything: format, lints, documentation, supply chain, chart and alerts, the gRPC contract, and whether
# .sqlx is up to date.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh postgres deny

say '--- scripts'
for script in scripts/*.sh .ci/run; do bash -n "$script"; done

say '--- format'
cargo fmt --check "${PACKAGES[@]}"

say '--- lints'
cargo clippy --locked "${PACKAGES[@]}" --all-targets -- --deny warnings

say '--- documentation'
RUSTDOCFLAGS='--deny warnings' cargo doc --locked --no-deps "${PACKAGES[@]}"

say '--- supply chain'
cargo deny --locked --workspace --exclude quittance-fuzz check --hide-inclusion-graph bans licenses sources

say '--- deployment'
scripts/check-deploy.sh

say '--- contract'
scripts/buf.sh

say '--- queries'
scripts/sqlx.sh --check
