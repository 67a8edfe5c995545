// A local Solana node with the real token programs. Run `node dev/solana.mjs --help`, or import `startSolana`.

import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { closeWhenAsked, fail, report } from './lifetime.mjs';
import { DEFAULTS, startSolana } from './solana/start.mjs';

export { startSolana };

const HELP = `node dev/solana.mjs [options]

  --network NAME    devnet (default) or mainnet: the network to stand in for, with USDC at the address it has there
  --port PORT       0 (default) takes a free one
  --ws-port PORT    of the subscriptions; 0 (default) takes a free one
  --slot-time MS    between blocks (default ${DEFAULTS.slotTimeMs}); 'finalized' lags 31 blocks
  --payers N        how many payers hold 1,000 of each token (default ${DEFAULTS.payerCount})
  --info            print addresses and keys as JSON, start nothing

Prints one line of JSON when the node is ready. Ends on SIGTERM, SIGINT, or when a piped standard input closes.`;

const OPTIONS = {
  network: { type: 'string', default: DEFAULTS.network },
  port: { type: 'string', default: '0' },
  'ws-port': { type: 'string', default: '0' },
  'slot-time': { type: 'string', default: String(DEFAULTS.slotTimeMs) },
  payers: { type: 'string', default: String(DEFAULTS.payerCount) },
  info: { type: 'boolean' },
  help: { type: 'boolean' },
};

async function main() {
  const { values } = parseArgs({ options: OPTIONS });
  const { network } = values;
  const payerCount = number(values, 'payers');

  if (values.help) return console.log(HELP);
  if (values.info) {
    const { describeSolanaWorld } = await import('./solana/world.mjs');
    return report(await describeSolanaWorld({ network, payerCount }));
  }

  const node = await startSolana({
    network,
    payerCount,
    port: number(values, 'port'),
    wsPort: number(values, 'ws-port'),
    slotTimeMs: number(values, 'slot-time'),
  });
  closeWhenAsked(node.stop, { withParent: true });
  report({ rpcUrl: node.url, wsUrl: node.wsUrl, pid: node.pid, ...node.world });
}

function number(values, name) {
  const value = Number(values[name]);
  if (!(value >= 0)) throw new Error(`--${name} needs a number, not "${values[name]}".`);
  return value;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main().catch(fail);
