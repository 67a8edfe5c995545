// Takes away what the service needs, and watches who is alarmed and when: node tests/deploy/drill.mjs. The binary is QUITTANCE_BIN.
//
// Two replicas, one in the role api and one in all others, as values-ha.yaml has them. The second one is killed and started again; then the
// database goes away. It takes about five minutes, because alerts wait before they fire.

import { execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../dev/chain/anvil.mjs';
import { startChain } from '../../dev/chain/start.mjs';
import { closeWhenAsked, endWithUs } from '../../dev/lifetime.mjs';
import { ROOT, startPrometheus } from './prometheus.mjs';

const BINARY = process.env.QUITTANCE_BIN;
const OWNERS = ['QuittanceLaneMissing', 'QuittanceWatcherMissing', 'QuittanceWorkerMissing'];
const DEADLINE_MS = 240_000;

const directory = mkdtempSync(join(tmpdir(), 'quittance-drill-'));
const server = mkdtempSync(join(tmpdir(), 'pg'));
const postgres = (action) => execFileSync(join(ROOT, 'scripts/postgres.sh'), [action, server], { stdio: ['ignore', 'pipe', 'ignore'] });

/** Ends the database, if it was not ended before. */
function away() {
  try {
    postgres('stop');
  } catch {
    // It was.
  }
}

/** Starts a replica in these roles, on these ports. */
function replica({ name, ports: [api, operations], roles, chain, url }) {
  const config = join(directory, `${name}.toml`);
  writeFileSync(config, `[server]
listen = "127.0.0.1:${api}"
operations_listen = "127.0.0.1:${operations}"

[database]
url = "${url}"

[[networks]]
id = "${chain.world.network}"
rpc = ["${chain.url}"]
signers = [{ key = "${chain.world.accounts.signers[0].key}" }]
`);
  execFileSync(BINARY, ['migrate', '--config', config]);
  const log = openSync(join(directory, `${name}.log`), 'a');
  const service = spawn(BINARY, ['serve', '--config', config, '--roles', roles], { stdio: ['ignore', log, log] });
  closeSync(log);
  endWithUs(service);
  const exited = new Promise((resolve) => service.once('close', resolve));
  return { kill: () => service.kill('SIGKILL'), stop: () => (service.kill('SIGTERM'), exited) };
}

/** Waits until exactly these alerts fire, and tells how long it took. */
async function fire(prometheus, what, names) {
  const began = Date.now();
  const wanted = [...names].sort().join(' ');
  for (let firing; firing !== wanted; await sleep(1_000)) {
    const result = await prometheus.ask('group by (alertname) (ALERTS{alertstate="firing"})');
    firing = result.map(({ metric }) => metric.alertname).sort().join(' ');
    if (Date.now() - began > DEADLINE_MS) throw new Error(`${what}: ${firing || 'nothing'} fires, and not ${wanted || 'nothing'}`);
  }
  console.log(`${what}: ${wanted || 'nothing fires'}, after ${((Date.now() - began) / 1000).toFixed(0)} s`);
}

async function main() {
  const started = [];
  const add = async (starting) => {
    started.push(await starting);
    return started.at(-1);
  };
  const stop = async () => {
    while (started.length) await started.pop().stop();
    for (const made of [directory, server]) rmSync(made, { recursive: true, force: true });
  };
  closeWhenAsked(stop);
  process.exitCode = 1;
  try {
    const chain = await add(startChain({ blockTime: 1 }));
    const url = postgres('start').toString().trim();
    await add({ stop: away });
    const ports = [];
    while (ports.length < 4) ports.push(await freePort(20_000 + ports.length));
    const others = { name: 'settlement', ports: ports.slice(2), roles: 'lane,watcher,worker', chain, url };
    await add(replica({ name: 'api', ports: ports.slice(0, 2), roles: 'api', chain, url }));
    const first = await add(replica(others));
    const prometheus = await add(startPrometheus(`127.0.0.1:${ports[1]}`, `127.0.0.1:${ports[3]}`));
    await sleep(30_000);
    await fire(prometheus, 'All is well', []);

    first.kill();
    await fire(prometheus, 'The replica that settles was killed', OWNERS);
    await add(replica(others));
    await fire(prometheus, 'It was started again', []);

    away();
    await fire(prometheus, 'The database is away', ['QuittanceDatabaseOutOfReach', ...OWNERS]);
    process.exitCode = 0;
  } catch (error) {
    console.error(error.message);
  }
  await stop();
}

await main();
