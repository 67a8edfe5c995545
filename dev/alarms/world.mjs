// The local world in which alarms go off: two networks, what stands between them and the service, replicas with one role each, and callers.

import { execFile, execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { privateKeyToAccount } from 'viem/accounts';
import { freePort } from '../chain/anvil.mjs';
import { startChain } from '../chain/start.mjs';
import { signOnSolana } from '../demo/wallets.mjs';
import { startNode } from '../night/node.mjs';
import { startReceiver } from '../night/receiver.mjs';
import { makeReplica } from '../night/replica.mjs';
import { postgres } from '../rehearsal.mjs';
import { startSolana } from '../solana/start.mjs';
import { startPrometheus } from '../../tests/deploy/prometheus.mjs';
import { startSales } from './callers.mjs';
import { startSigner } from './signer.mjs';

const ROLES = { api: 'api', settlement: 'lane,watcher', worker: 'worker', another: 'api' };
const PER_SECOND = 10;
/** The service keeps 512 files for what is no connection, so that as many connections are left. */
const FILES = 1_024;
export const CONNECTIONS_OF_ADDRESS = 450;
const VERSION = '0.1.0';
const OTHER_VERSION = '0.1.9';

/** Nodes and receivers are in this process, so it must not wait for those who ask them. */
const later = promisify(execFile);
const run = (program, ...words) => execFileSync(program, words, { stdio: ['ignore', 'pipe', 'pipe'] }).toString().trim();

/** There is one release so far, so that of another number is a copy of the binary with other digits in its name. */
function otherVersion(binary, directory) {
  const copy = join(directory, 'quittance-other');
  copyFileSync(binary, copy);
  const bytes = readFileSync(copy, 'latin1');
  writeFileSync(copy, bytes.replaceAll(VERSION, OTHER_VERSION), 'latin1');
  chmodSync(copy, 0o755);
  return copy;
}

function configuration({ api, operations, database, keys, evm, node, solana, solanaNode }, signers) {
  const { network, genesisHash, accounts, mints } = solana.world;
  return `[server]
listen = "127.0.0.1:${api}"
operations_listen = "127.0.0.1:${operations}"
grpc_listen = "none"
connections_per_address_max = ${CONNECTIONS_OF_ADDRESS}

[database]
url = "${database}"

[limits]
address_per_second = 5
address_burst = 10

[receipts]
keys_file = "${keys}"

[webhooks]
allow_private = true

[[networks]]
id = "${evm.world.network}"
rpc = ["${node.url}"]
signers = [${signers.join(', ')}]
cost = { payer_hourly = "none", account_hourly = "none", pay_to_hourly = "none", network_hourly = "none" }

[[networks]]
id = "${network}"
rpc = ["${solanaNode.url}"]
genesis = "${genesisHash}"
assets = [{ address = "${mints.usdc.address}" }]
signers = [{ name = "solana-1", key = "${accounts.signers[0].key}" }]
`;
}

/** What talks to the service for an account. */
function client(url, key) {
  return async (method, path, body) => {
    const response = await fetch(url + path, {
      method,
      headers: { authorization: `Bearer ${key}`, accept: 'application/json', ...(body && { 'content-type': 'application/json' }) },
      body: body && JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return response.json();
  };
}

/** Starts all of it, with a provider that does not answer yet; `add` is told of everything that must be stopped. */
export async function startWorld({ add, directory, server, binary, hurry }) {
  const evm = await add(startChain({ blockTime: 1, slotsInAnEpoch: 32 }));
  const solana = await add(startSolana());
  const [node, solanaNode] = [await add(startNode(evm.url)), await add(startNode(solana.url))];
  node.mood = 'away';
  const [first, second] = evm.world.accounts.signers;
  const signer = await add(startSigner({ name: 'evm-1', key: first.key }));
  const spare = `{ name = "evm-2", key = "${second.key}" }`;
  const receiver = await add(startReceiver());
  const database = await postgres('start', server);
  await add({ stop: () => postgres('stop', server) });
  const keys = join(directory, 'receipt-keys.json');
  run(binary, 'keys', 'generate', '--out', keys);

  const replicas = {};
  for (const [name, roles] of Object.entries(ROLES)) {
    const [api, operations] = [await freePort(), await freePort()];
    const place = { api, operations, database, keys, evm, node, solana, solanaNode };
    const [url, listens] = [`http://127.0.0.1:${api}`, `127.0.0.1:${operations}`];
    const files = roles === 'api' && FILES;
    const options = { name, roles, file: join(directory, `${name}.toml`), directory, binary, operations: listens, probe: 'livez', files };
    replicas[name] = await add(Object.assign(makeReplica(options), { url, place }));
  }
  const world = {
    chain: evm, node, solanaNode, signer, spare, receiver, keys, directory, binary, ...replicas,
    other: otherVersion(binary, directory),
    /** Has all replicas, at their next start, settle on the EVM network with these signers. */
    configure(...signers) {
      for (const { file, place } of Object.values(replicas)) writeFileSync(file, configuration(place, signers));
    },
    /** Runs another command of the binary. What it prints is returned also if it has found something to complain about. */
    async command(...words) {
      const { stdout } = await later(binary, [...words, '--config', replicas.api.file]).catch((error) => error);
      return stdout;
    },
    sql: async (text) => (await later('psql', [ database, '--no-psqlrc', '--quiet', '--tuples-only', '--no-align', '--set', 'ON_ERROR_STOP=1', '--command', text])).stdout.trim(),
  };
  world.configure(signer.entry);
  await world.command('migrate');
  for (const name of ['api', 'settlement', 'worker']) await replicas[name].start();
  world.prometheus = await add(startPrometheus(Object.values(replicas).map(({ operations }) => operations), hurry));

  const account = async (name, scope) => /^API key\s+(\S+)/m.exec(await world.command('account', 'create', name, '--scope', scope))[1];
  const key = await account('A shop', 'provider');
  await client(replicas.api.url, key)('POST', '/v1/webhooks', { url: receiver.url });
  const merchant = privateKeyToAccount(evm.world.accounts.merchant.key);
  const asMerchant = client(replicas.api.url, await account('Whoever is paid', 'merchant'));
  const register = async ({ network }, address, sign) => {
    const { id, challenge } = await asMerchant('POST', '/v1/addresses', { network, address });
    await asMerchant('POST', `/v1/addresses/${id}/proof`, { signature: await sign(challenge) });
  };
  /** Registers the address that is paid, whose credits are compared from then on. */
  world.register = () => register(evm.world, merchant.address, (message) => merchant.signMessage({ message }));
  /** The same on Solana, where whole blocks are read only for somebody. */
  world.registerOnSolana = () =>
    register(solana.world, solana.world.merchant, (text) => signOnSolana(solana.world.accounts.merchant.key, text));
  await add(startSales({ url: replicas.api.url, key, chain: evm, payTo: merchant.address, perSecond: PER_SECOND }));
  return world;
}
