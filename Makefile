# Everything a person or a machine runs here. Each target is a script in scripts/, which can be run alone.

.DEFAULT_GOAL := help
.PHONY: help demo try test test-clients test-actix test-contract test-pages test-install differential check check-deploy openapi sqlx sqlx-check night alarms evidence fuzz bench

help: ## Lists the targets.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name what; do printf '%-12s %s\n' "$$name" "$$what"; done

demo: ## Builds the service and shows it at work on local chains; ONCE=1 ends after the payments, SEI=1 adds a second chain.
	scripts/demo.sh $(if $(ONCE),--once) $(if $(SEI),--sei)

try: ## Builds the service and starts it on a local chain, for the calls of docs/API.md.
	cargo build --locked && node dev/try.mjs

test: ## Runs every test.
	scripts/test.sh

test-clients: ## Runs other people's clients and servers against the service; FAST=1 runs one of each language.
	scripts/test-clients.sh $(if $(FAST),--fast)

test-actix: ## Buys from routes behind quittance-actix, with the official client, through the service on local chains.
	scripts/test-actix.sh

differential: ## Asks this service and the reference facilitator about the same 2,000 payments.
	scripts/differential.sh

test-contract: ## Runs docs/API.md, and strangers' requests, against the service and its OpenAPI document.
	scripts/test-contract.sh

test-pages: ## Looks at the pages in a browser, on local chains with real transfers.
	scripts/test-pages.sh

test-install: ## Types what docs/OPERATIONS.md tells somebody who has nothing, up to a paid invoice and restored backups.
	scripts/test-install.sh

check: ## Looks at format, lints, documentation, supply chain, deployment, the gRPC contract and queries.
	scripts/check.sh

openapi: ## Writes docs/openapi.json anew after the API changed.
	scripts/openapi.sh

check-deploy: ## Looks at chart, alerts, runbook, dashboards and compose.yaml; LIVE=1 gives all of it to a running service.
	scripts/check-deploy.sh $(if $(LIVE),--live)

night: ## Plays a bad night under load, until its alerts have fired and cleared; a quarter of an hour. BEFORE=BINARY begins with an older version, WRITE=1 reports it.
	scripts/check-deploy.sh --night $(if $(BEFORE),--before $(BEFORE)) $(if $(WRITE),--write)

alarms: ## Has every other alert go off on the local world, each for its reason, and clear; a quarter of an hour.
	scripts/check-deploy.sh --alarms $(if $(WRITE),--write)

sqlx: ## Writes .sqlx anew after a query or a migration changed.
	scripts/sqlx.sh

sqlx-check: ## Fails if .sqlx is not what `make sqlx` would write.
	scripts/sqlx.sh --check

evidence: ## Runs the long tests behind docs/RELIABILITY.md.
	scripts/evidence.sh

fuzz: ## Fuzzes what reads the words of strangers, ten minutes each, and keeps what reaches new code.
	scripts/fuzz.sh

bench: ## Takes the measurements behind docs/PERFORMANCE.md.
	scripts/bench.sh
