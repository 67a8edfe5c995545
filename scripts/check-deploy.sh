#!/usr/bin/env bash
# Looks at what people run the service with: the alerts and their runbook, the dashboards, the chart and compose.yaml. With --live it also
# has a real Prometheus watch the service on a local chain, and asks it every query: check-deploy.sh [--live].
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

case ${1-} in
  '' | --live) ;;
  *) fail "check-deploy.sh [--live]" ;;
esac

scripts/setup.sh deploy

say '--- alerts'
promtool check rules helm/quittance/alerts/*.yaml
promtool test rules tests/deploy/alerts/*.yaml

say '--- chart, dashboards, runbook and compose.yaml'
"$TOOLS/deploy/bin/python" -m unittest discover --start-directory tests/deploy

[ "${1-}" = --live ] || exit 0
say '--- a running service'
scripts/setup.sh
[ -n "${QUITTANCE_BIN:-}" ] || cargo build --locked
export QUITTANCE_BIN="${QUITTANCE_BIN:-$CARGO_TARGET_DIR/debug/quittance}"
"$TOOLS/deploy/bin/python" -m unittest discover --start-directory tests/deploy --pattern "live*.py"
node tests/deploy/live.mjs
