// A chain that was set up once is kept as a state file, from which anvil starts in a third of a second. Beside it lies a
// `.world.json` with the addresses and keys, so that such a start needs neither viem nor a single derived key.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startAnvil } from './anvil.mjs';

const DEV = fileURLToPath(new URL('..', import.meta.url));
// Blocks of the set-up lie safely in the past, so that the first block of a later run can carry the present time.
const GENESIS_TIME = Date.UTC(2026, 0, 1) / 1000;

const worldFile = (stateFile) => `${stateFile}.world.json`;

/** The world that a state file holds. */
export const worldOf = (stateFile) => JSON.parse(readFileSync(worldFile(stateFile), 'utf8'));

/** Where the state of these options is cached: the name changes whenever anything it is made from changes. */
export function cachedStateFile({ chainId, payerCount }) {
  const sources = readdirSync(join(DEV, 'chain')).map((name) => join(DEV, 'chain', name));
  const inputs = [
    ...sources,
    join(DEV, 'package-lock.json'),
    join(DEV, 'contracts/permit2.initcode'),
    ...['L1FeeOracleStub', 'ExactPermit2Proxy', 'UptoPermit2Proxy'].map((name) => join(DEV, `../contracts/out/${name}.json`)),
  ];
  const hash = createHash('sha256');
  for (const path of inputs.sort()) hash.update(existsSync(path) ? readFileSync(path) : 'absent');
  return join(DEV, '.state/chains', `${chainId}-${payerCount}-${hash.digest('hex').slice(0, 12)}.json`);
}

/** Sets a chain up from nothing and writes its state; whoever reads the file sees all of it or none. */
export async function buildState(stateFile, { chainId, payerCount }) {
  // The loading path must stay light, so everything that needs viem is imported here.
  const { buildWorld, describeWorld } = await import('./world.mjs');
  const world = describeWorld({ chainId, payerCount });
  const draft = `${stateFile}.${process.pid}.draft`;
  mkdirSync(dirname(stateFile), { recursive: true });

  const anvil = await startAnvil({
    chainId,
    args: ['--no-mining', '--timestamp', String(GENESIS_TIME), '--dump-state', draft],
  });
  try {
    await buildWorld(anvil.rpc, world);
  } catch (error) {
    await anvil.stop();
    rmSync(draft, { force: true });
    throw error;
  }
  await anvil.stop();

  writeFileSync(`${draft}.world`, JSON.stringify(world));
  renameSync(`${draft}.world`, worldFile(stateFile));
  renameSync(draft, stateFile);
  return world;
}
