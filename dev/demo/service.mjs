// Starts the built service the way an operator would: a configuration file, keys in the environment, one command.

import { spawn } from 'node:child_process';
import { chmodSync, closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../chain/anvil.mjs';
import { endWithUs } from '../lifetime.mjs';

const DEV = fileURLToPath(new URL('..', import.meta.url));
// The first start creates a database cluster, which takes seconds on a slow disk.
const READY_DEADLINE_MS = 90_000;
const STOP_DEADLINE_MS = 20_000;

/** `QUITTANCE_BIN`, or what cargo built last for release or debug. */
function binary() {
  const target = process.env.CARGO_TARGET_DIR ?? join(DEV, '../target');
  const candidates = process.env.QUITTANCE_BIN
    ? [process.env.QUITTANCE_BIN]
    : ['release', 'debug'].map((profile) => join(target, profile, 'quittance'));
  const found = candidates.find(existsSync);
  if (!found) throw new Error(`No quittance binary in ${candidates.join(' or ')}; build it, or set QUITTANCE_BIN.`);
  return found;
}

/** A network's reference, such as 84532 or the beginning of a genesis hash, fits into names of every kind. */
const reference = (chain) => chain.world.network.split(':')[1];
const keyVariable = (chain) => `DEMO_SIGNER_${reference(chain)}`;
/** A local node stands in for a cluster whose genesis it does not have, and holds a token that nobody else knows. */
const ofSolana = ({ world: { genesisHash, mints } }) =>
  genesisHash
    ? `genesis = "${genesisHash}"
assets = [
  { address = "${mints.usdc.address}" },
  { address = "${mints.token2022.address}", symbol = "T22", decimals = ${mints.token2022.decimals}, program = "token-2022" },
]
`
    : '';

function configuration({ api, operations, grpc, dataDir, chains, access }) {
  const networks = chains.map(
    (chain) => `
[[networks]]
id = "${chain.world.network}"
rpc = ["${chain.url}"]
${ofSolana(chain)}signers = [{ name = "demo-${reference(chain).slice(0, 8).toLowerCase()}", key = "env:${keyVariable(chain)}" }]
`,
  );
  return `# Written by dev/demo.mjs; every run writes it anew.
[server]
listen = "127.0.0.1:${api}"
operations_listen = "127.0.0.1:${operations}"
grpc_listen = "127.0.0.1:${grpc}"
public_url = "http://127.0.0.1:${api}"
access = "${access}"

[database]
data_dir = ${JSON.stringify(dataDir)}

[webhooks]
allow_private = true
${networks.join('')}`;
}

/** Starts `quittance serve` on the chains and resolves when it says that it is ready. */
export async function startQuittance({ chains, keyOf, access = 'open' }) {
  const executable = binary();
  // A ledger remembers its chain, and every run has a new chain, so every run has a new ledger. It lies where the user that root
  // runs PostgreSQL as can reach it; a checkout below root's home is closed to everybody else.
  const directory = mkdtempSync(join(tmpdir(), 'quittance-demo-'));
  chmodSync(directory, 0o711);
  const configFile = join(directory, 'quittance.toml');
  const logFile = join(directory, 'quittance.log');
  const [api, operations, grpc] = [await freePort(4020), await freePort(9464), await freePort(4021)];
  writeFileSync(configFile, configuration({ api, operations, grpc, dataDir: join(directory, 'data'), chains, access }));

  const log = openSync(logFile, 'w');
  const environment = { ...process.env, ...Object.fromEntries(chains.map((chain) => [keyVariable(chain), keyOf(chain)])) };
  const service = spawn(executable, ['serve', '--config', configFile], { stdio: ['ignore', log, log], env: environment });
  closeSync(log);
  endWithUs(service);
  service.on('error', () => {}); // A program that cannot be run shows as one that is not running.
  const exited = new Promise((resolve) => service.once('close', resolve));
  const running = () => service.pid !== undefined && service.exitCode === null && service.signalCode === null;

  async function stop() {
    if (running()) {
      service.kill('SIGTERM');
      const impatience = setTimeout(() => service.kill('SIGKILL'), STOP_DEADLINE_MS);
      await exited;
      clearTimeout(impatience);
    }
    rmSync(directory, { recursive: true, force: true });
  }
  const lastWords = () => readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-20).join('\n');

  const operationsUrl = `http://127.0.0.1:${operations}`;
  if (!(await ready(`${operationsUrl}/readyz`, running))) {
    const words = lastWords();
    await stop();
    throw new Error(`${executable} did not become ready. Its last words:\n${words}`);
  }
  return { url: `http://127.0.0.1:${api}`, grpcAddress: `127.0.0.1:${grpc}`, operationsUrl, executable, environment, configFile, logFile, exited, lastWords, stop };
}

async function ready(url, running) {
  const deadline = Date.now() + READY_DEADLINE_MS;
  while (running() && Date.now() < deadline) {
    const response = await fetch(url, { signal: AbortSignal.timeout(2_000) }).catch(() => null);
    if (response?.ok) return true;
    await sleep(50);
  }
  return false;
}
