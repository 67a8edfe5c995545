// Replicas as values-ha.yaml has them: two in the role api, and two that share the others.

import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../chain/anvil.mjs';
import { makeReplica } from './replica.mjs';

const OTHERS = 'lane,watcher,worker';
const ROLES = { 'api-1': 'api', 'api-2': 'api', 'settlement-1': OTHERS, 'settlement-2': OTHERS };

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

/** Starts all of them as the binary `before`; `command` runs another command of the binary on their configuration. */
export async function startReplicas({ binary, before, directory, ...world }) {
  let current = before;
  const replicas = [];
  for (const [name, roles] of Object.entries(ROLES)) {
    const settings = await configuration(world);
    const replica = makeReplica({ name, roles, file: join(directory, `${name}.toml`), directory, binary: before, ...settings });
    writeFileSync(replica.file, replica.text);
    replicas.push(replica);
  }
  const command = (...words) => execFileSync(current, [...words, '--config', replicas[0].file]).toString();
  const settling = replicas.filter(({ roles }) => roles === OTHERS);
  command('migrate');
  for (const replica of replicas) await replica.start();
  return {
    urls: replicas.filter(({ roles }) => roles === 'api').map(({ url }) => url),
    targets: replicas.map(({ operations }) => operations),
    command,
    /** The database is migrated while all go on, and one after the other is stopped and started as `binary`, as an upgrade does. */
    async roll() {
      current = binary;
      command('migrate');
      for (const replica of replicas) {
        replica.binary = binary;
        await replica.stop();
        await replica.start();
      }
    },
    /** All are stopped while `change` gives them an older copy of the database, of which they are told. */
    async restore(change) {
      await Promise.all(replicas.map((replica) => replica.stop()));
      await change();
      command('migrate');
      command('restored');
      for (const replica of replicas) await replica.start();
    },
    /** Ends those that settle and watch, as a machine that fails does. */
    async kill() {
      for (const replica of settling) await replica.stop('SIGKILL');
    },
    /** Starts those again that were killed. */
    async revive() {
      for (const replica of settling) await replica.start();
    },
    stop: () => Promise.all(replicas.map((replica) => replica.stop())),
  };
}
