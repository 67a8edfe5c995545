// Has a real Prometheus watch the service on a local chain while payments and invoices are made, and asks it every query of the
// dashboards: node tests/deploy/live.mjs. The binary is QUITTANCE_BIN.

import { execFile } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { startChain } from '../../dev/chain/start.mjs';
import { payInvoices } from '../../dev/demo/invoices.mjs';
import { startQuittance } from '../../dev/demo/service.mjs';
import { closeWhenAsked } from '../../dev/lifetime.mjs';
import { startMerchant } from '../../dev/merchant.mjs';
import { PATH } from '../../dev/shop.mjs';
import { CHART, ROOT, startPrometheus } from './prometheus.mjs';

const PURCHASES = 5;
const DEADLINE_MS = 120_000;

// What there is nothing of where nothing goes wrong.
const EMPTY = [
  'overview: Alerts',
  'payments: Why settle requests are refused',
  'payments: Why payments are given up',
  'payments: Why payments are invalid',
  'nodes: Calls that fail by method',
  'service: Errors of ours by route',
  // Nobody calls over gRPC here.
  'service: Calls by method and code',
  'service: Time to answer calls, 95 %',
  'service: Calls under way',
];

function queries() {
  const found = [];
  for (const file of readdirSync(join(CHART, 'dashboards'))) {
    const dashboard = JSON.parse(readFileSync(join(CHART, 'dashboards', file), 'utf8'));
    for (const panel of dashboard.panels) {
      for (const { expr, refId } of panel.targets ?? []) {
        found.push({ place: `${file.replace('.json', '')}: ${panel.title}`, refId, expr: filled(expr) });
      }
    }
  }
  return found;
}

const filled = (expr) => expr.replaceAll('$__rate_interval', '30s').replaceAll(/\$\w+/g, '.*');

async function until(what, holds) {
  const deadline = Date.now() + DEADLINE_MS;
  while (!(await holds().catch(() => false))) {
    if (Date.now() > deadline) throw new Error(`${what} did not happen`);
    await sleep(500);
  }
}

async function main() {
  const started = [];
  const add = async (starting) => {
    started.push(await starting);
    return started.at(-1);
  };
  const stop = async () => {
    while (started.length) await started.pop().stop();
  };
  closeWhenAsked(stop);
  process.exitCode = 1;
  const faults = [];
  let passed = 0;
  const check = (name, fault) => (fault ? faults.push(`${name}: ${fault}`) : (passed += 1));
  try {
    const chain = await add(startChain({ blockTime: 1 }));
    const quittance = await add(startQuittance({ chains: [chain], keyOf: ({ world }) => world.accounts.signers[0].key }));
    const prometheus = await add(startPrometheus([new URL(quittance.operationsUrl).host]));
    await until('the first scrape', async () => (await prometheus.ask('quittance_build_info')).length === 1);

    const { network, payers, merchant: payTo } = chain.world;
    const merchant = await add(startMerchant({ facilitator: quittance.url, networks: [network], payTo: [payTo] }));
    for (let paid = 0; paid < PURCHASES; paid += 1) {
      const buyer = ['dev/buyer.mjs', '--url', merchant.url + PATH, '--network', network, '--key', payers[paid].key];
      await promisify(execFile)(process.execPath, buyer, { cwd: ROOT });
    }
    const quiet = { step: () => {}, details: () => {}, elapsed: () => '' };
    await payInvoices({ chain, solana: false, facilitator: quittance, story: quiet, started: { add } });
    const settled = 'sum(increase(quittance_settlements_total{outcome="success"}[1m])) > 0 and sum(increase(quittance_payments_finalized_total[1m])) > 0';
    await until('a settlement that Prometheus knows of', async () => (await prometheus.ask(settled)).length === 1);
    // A comparison of network and ledger, and what it takes to have two values of everything.
    await until('the first comparison', async () => (await prometheus.ask('quittance_reconcile_finished_timestamp_seconds > 0')).length === 1);
    await until('a measured owner', async () => (await prometheus.ask('quittance:lane_owner and on (network) quittance:watcher_owner')).length === 1);

    for (const { place, refId, expr } of queries()) {
      const result = await prometheus.ask(expr).catch((error) => error.message);
      const fault = typeof result === 'string' ? result : !result.length && !EMPTY.includes(place) && `nothing comes of ${expr}`;
      check(`${place} ${refId}`, fault);
    }
    for (const rule of await prometheus.rules()) {
      const firing = rule.state === 'firing' && 'it fires, and nothing is wrong';
      check(rule.name, (rule.health !== 'ok' && (rule.lastError || rule.health)) || firing);
    }
    const idle = await prometheus.ask('min_over_time(quittance_database_connections{state="idle"}[30s])');
    check('QuittanceDatabaseOutOfReach', Number(idle[0]?.value[1] ?? 0) < 1 && 'there was no idle connection for a moment, although all is well');
  } catch (error) {
    faults.push(error.stack);
  }
  await stop();
  for (const fault of faults) console.error(fault);
  console.log(`${passed} passed, ${faults.length} failed`);
  process.exitCode = faults.length ? 1 : 0;
}

await main();
