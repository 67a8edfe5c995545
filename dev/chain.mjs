// A local chain with the real USDC. Run `node dev/chain.mjs --help`, or import `startChain`.

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { DEFAULTS, startChain } from './chain/start.mjs';
import { buildState } from './chain/state.mjs';
import { closeWhenAsked, fail, report } from './lifetime.mjs';

export { startChain };

const HELP = `node dev/chain.mjs [options] [-- anvil options]

  --chain-id ID             84532 Base Sepolia (default), 8453 Base, 1329 Sei
  --port PORT               0 (default) takes a free one
  --block-time SECONDS      0 (default) mines each transaction at once; fractions are allowed
  --slots-in-an-epoch N     'safe' lags N blocks, 'finalized' 2N (default ${DEFAULTS.slotsInAnEpoch})
  --payers N                how many payers hold 1,000 USDC (default ${DEFAULTS.payerCount})
  --state FILE              start from this state; it is built first when missing (default: a cache in dev/.state)
  --load-state FILE         start from this state, which must exist
  --build-state FILE        set everything up, write the state, end
  --info                    print addresses and keys as JSON, start nothing

Prints one line of JSON when the chain is ready. Ends on SIGTERM, SIGINT, or when a piped standard input closes.`;

const OPTIONS = {
  'chain-id': { type: 'string', default: String(DEFAULTS.chainId) },
  port: { type: 'string', default: '0' },
  'block-time': { type: 'string', default: '0' },
  'slots-in-an-epoch': { type: 'string', default: String(DEFAULTS.slotsInAnEpoch) },
  payers: { type: 'string', default: String(DEFAULTS.payerCount) },
  state: { type: 'string' },
  'load-state': { type: 'string' },
  'build-state': { type: 'string' },
  info: { type: 'boolean' },
  help: { type: 'boolean' },
};

async function main() {
  const { values, positionals } = parseArgs({ options: OPTIONS, allowPositionals: true });
  const chainId = number(values, 'chain-id');
  const payerCount = number(values, 'payers');

  if (values.help) return console.log(HELP);
  if (values.info) {
    const { describeWorld } = await import('./chain/world.mjs');
    return report(describeWorld({ chainId, payerCount }));
  }
  if (values['build-state']) {
    await buildState(values['build-state'], { chainId, payerCount });
    return report({ stateFile: values['build-state'], chainId });
  }

  const chain = await startChain({
    chainId,
    payerCount,
    port: number(values, 'port'),
    blockTime: number(values, 'block-time'),
    slotsInAnEpoch: number(values, 'slots-in-an-epoch'),
    stateFile: stateFile(values),
    anvilArgs: positionals,
  });
  // A chain that dies on its own is an error, one that was asked to end is not.
  let ending = false;
  closeWhenAsked(() => ((ending = true), chain.stop()), { withParent: true });
  chain.exited.then(() => ending || fail('anvil ended unexpectedly.'));

  const { payers, ...world } = chain.world;
  report({ rpcUrl: chain.url, wsUrl: chain.wsUrl, pid: chain.pid, ...world });
}

function number(values, name) {
  const value = Number(values[name]);
  if (!(value >= 0)) throw new Error(`--${name} needs a number, not "${values[name]}".`);
  return value;
}

function stateFile(values) {
  const file = values['load-state'];
  if (file && !existsSync(file)) throw new Error(`There is no state file ${file}.`);
  return file ?? values.state;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main().catch(fail);
