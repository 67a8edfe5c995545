#!/usr/bin/env bash
# Looks at what people run the service with: the alerts and their runbook, the dashboards, the chart and compose.yaml. With --live it gives
# all of it to the service instead, which a real Prometheus watches on a local chain. With --night it takes away what the service needs, one
# thing after the other, under load, and waits for the alerts; with --alarms it gives every other alert its reason:
# check-deploy.sh [--live | --night [options of dev/night.mjs] | --alarms [options of dev/alarms.mjs]].
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh deploy
python() { "$TOOLS/deploy/bin/python" "$@"; }

have_binary() {
  scripts/setup.sh
  [ -n "${QUITTANCE_BIN:-}" ] || cargo build --locked
  export QUITTANCE_BIN="${QUITTANCE_BIN:-$CARGO_TARGET_DIR/debug/quittance}"
}

case ${1-} in
  '')
    promtool check rules helm/quittance/alerts/*.yaml
    promtool test rules tests/deploy/alerts/*.yaml
    python -m unittest discover --start-directory tests/deploy
    ;;
  --live)
    have_binary
    python -m unittest discover --start-directory tests/deploy --pattern 'live*.py'
    node tests/deploy/live.mjs
    ;;
  --night)
    have_binary
    node dev/night.mjs "${@:2}"
    ;;
  --alarms)
    have_binary
    node dev/alarms.mjs "${@:2}"
    ;;
  *) fail "check-deploy.sh [--live | --night | --alarms]" ;;
esac
