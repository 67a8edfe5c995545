// Replicas as values-ha.yaml has them: two in the role api, and two that share the others.

import { execFileSync, spawn } from 'node:child_process';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../chain/anvil.mjs';
import { endWithUs } from '../lifetime.mjs';

const OTHERS = 'lane,watcher,worker';
const ROLES = { 'api-1': 'api', 'api-2': 'api', 'settlement-1': OTHERS, 'settlement-2': OTHERS };
const PATIENCE_MS = 60_000;

async function configuration({ chain, node, database }) {
  const [api, operations] = [await freePort(), await freePort()];
  const text = `[server]
listen = "127.0.0.1:${api}"
operations_listen = "127.0.0.1:${operations}"
grpc_listen = "none"

[database]
url = "${database}"

[webhooks]
allow_private = true

[[networks]]
id = "${chain.world.network}"
rpc = ["${node.url}"]
signers = [{ key = "${chain.world.accounts.signers[0].key}" }]
# Nobody gives up because the night is expensive.
cost = { payer_hourly = "none", account_hourly = "none", pay_to_hourly = "none", network_hourly = "none" }
`;
  return { text, url: `http://127.0.0.1:${api}`, operations: `127.0.0.1:${operations}` };
}

async function isReady({ operations }) {
  const response = await fetch(`http://${operations}/readyz`).catch(() => null);
  return response?.ok ?? false;
}

/** Starts all of them as the binary `before`; `command` runs another command of the binary on their configuration. */
export async function startReplicas({ binary, before, directory, ...world }) {
  let current = before;
  const replicas = [];
  for (const [name, roles] of Object.entries(ROLES)) {
    const replica = { name, roles, file: join(directory, `${name}.toml`), ...(await configuration(world)) };
    writeFileSync(replica.file, replica.text);
    replicas.push(replica);
  }
  const command = (...words) => execFileSync(current, [...words, '--config', replicas[0].file]).toString();
  const start = async (replica) => {
    const log = openSync(join(directory, `${replica.name}.log`), 'a');
    replica.process = spawn(current, ['serve', '--config', replica.file, '--roles', replica.roles], { stdio: ['ignore', log, log] });
    closeSync(log);
    endWithUs(replica.process);
    replica.exited = new Promise((resolve) => replica.process.once('close', resolve));
    const deadline = Date.now() + PATIENCE_MS;
    while (!(await isReady(replica))) {
      if (Date.now() > deadline) throw new Error(`${replica.name} is not ready after ${PATIENCE_MS / 1_000} s`);
      await sleep(100);
    }
  };
  const stop = (replica) => (replica.process?.kill('SIGTERM'), replica.exited);

  const settling = replicas.filter(({ roles }) => roles === OTHERS);
  command('migrate');
  for (const replica of replicas) await start(replica);
  return {
    urls: replicas.filter(({ roles }) => roles === 'api').map(({ url }) => url),
    targets: replicas.map(({ operations }) => operations),
    command,
    /** The database is migrated while all go on, and one after the other is stopped and started as `binary`, as an upgrade does. */
    async roll() {
      current = binary;
      command('migrate');
      for (const replica of replicas) {
        await stop(replica);
        await start(replica);
      }
    },
    /** Ends those that settle and watch, as a machine that fails does. */
    async kill() {
      for (const replica of settling) {
        replica.process.kill('SIGKILL');
        await replica.exited;
      }
    },
    /** Starts those again that were killed. */
    async revive() {
      for (const replica of settling) await start(replica);
    },
    stop: () => Promise.all(replicas.map(stop)),
  };
}
