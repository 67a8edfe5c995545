// Buys from routes behind quittance-actix, with the official client of x402, through the real facilitator on local chains.
//
//   node tests/actix/run.mjs [--only TEXT]
//
// The shop is the example quittance-actix-shop in CARGO_TARGET_DIR, or SHOP_BIN; the facilitator is QUITTANCE_BIN, or what cargo built.

import { parseArgs } from 'node:util';
import { closeWhenAsked } from '../../dev/lifetime.mjs';
import { LIES } from './lies.mjs';
import { REFUSALS } from './refusals.mjs';
import { SALES } from './sales.mjs';
import { openShop } from './shop.mjs';
import { startWorld } from '../clients/world.mjs';

// As many as the demo has, so that they share the state of the chain.
const ACCOUNTS = { evm: 100, solana: 100 };

async function main() {
  process.setMaxListeners(0);
  const { values } = parseArgs({ options: { only: { type: 'string', default: '' } } });
  const checks = Object.entries({ ...SALES, ...REFUSALS, ...LIES }).filter(([name]) => name.includes(values.only));
  const started = [];
  const stop = async () => {
    while (started.length) await started.pop().stop();
  };
  closeWhenAsked(stop);
  // Whoever interrupts a run has not seen it succeed.
  process.exitCode = 1;
  let failed = 0;
  try {
    const world = await startWorld(['evm', 'solana'], ACCOUNTS);
    started.push(world);
    const shop = await openShop(world);
    started.push(shop);
    for (const [name, check] of checks) {
      const begun = performance.now();
      const fault = await check(shop).then(() => null, (error) => error);
      if (fault) failed += 1;
      console.log(`${fault ? 'FAILED' : 'ok    '} ${name}  ${((performance.now() - begun) / 1000).toFixed(1)} s`);
      if (fault) console.log(`${fault.stack}\n${shop.lastWords()}`);
    }
  } finally {
    await stop();
  }
  console.log(`${checks.length - failed} passed, ${failed} failed`);
  process.exitCode = failed || !checks.length ? 1 : 0;
}

await main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
