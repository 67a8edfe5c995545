// Buys text by the token from the example `metered`, by scheme `upto`: the payer signs for the most, and pays for what was used.
//
//   node tests/actix/metered.mjs
//
// The facilitator has to offer `upto`; where it does not, this fails and says so. The shop is the example in CARGO_TARGET_DIR, or SHOP_BIN.

import assert from 'node:assert/strict';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { buyMetered } from '../../dev/buyer-metered.mjs';
import { freePort } from '../../dev/chain/anvil.mjs';
import { closeWhenAsked } from '../../dev/lifetime.mjs';
import { startServer } from '../clients/programs.mjs';
import { startWorld } from '../clients/world.mjs';

const TARGET = process.env.CARGO_TARGET_DIR ?? join(homedir(), '.cache/quittance/target');
const PROGRAM = process.env.SHOP_BIN ?? join(TARGET, 'debug/examples/metered');
const PER_INPUT_TOKEN = 5n;
const PER_OUTPUT_TOKEN = 20n;
const MOST = 2_000n;

/** One purchase: what it was for, and what it should cost. */
const ORDERS = [
  { name: 'some text', prompt: 'The ferry leaves', maxTokens: 12, cost: 3n * PER_INPUT_TOKEN + 12n * PER_OUTPUT_TOKEN },
  { name: 'a prompt alone', prompt: 'The lighthouse', maxTokens: 0, cost: 2n * PER_INPUT_TOKEN },
  { name: 'nothing at all', prompt: '', maxTokens: 0, cost: 0n },
  { name: 'as much as the money buys', prompt: 'In the book', maxTokens: 10_000, cost: MOST - 5n },
];

async function main() {
  const started = [];
  const stop = async () => {
    while (started.length) await started.pop().stop();
  };
  closeWhenAsked(stop);
  process.exitCode = 1;
  try {
    const world = await startWorld(['evm'], { evm: 100, solana: 0 });
    started.push(world);
    const { chains: { evm }, quittance } = world;
    const network = evm.network(2);
    const { kinds } = await (await fetch(`${quittance.url}/supported`)).json();
    if (!kinds.some((kind) => kind.scheme === 'upto' && kind.network === network)) throw new Error('The facilitator does not offer upto.');

    const till = evm.account().address;
    const port = await freePort();
    const shop = await startServer({ command: PROGRAM, args: [quittance.url, `${network}=${till}`, String(port)] }, { PORT: String(port) });
    started.push(shop);
    for (const { name, cost, ...order } of ORDERS) {
      const payer = evm.account();
      const [purse, earned] = [await evm.balance(payer.address), await evm.balance(till)];
      const { status, payment, body } = await buyMetered({ url: `${shop.url}/v1/generate`, network, key: payer.key, rpc: evm.rpcUrl, order });
      assert.equal(status, 200, `${name}: ${JSON.stringify(body)}\n${shop.lastWords()}\n${quittance.lastWords()}`);
      const spent = purse - (await evm.balance(payer.address));
      assert.deepEqual([spent, (await evm.balance(till)) - earned, payment.amount, body.usage.charged], [cost, cost, String(cost), String(cost)], name);
      assert.equal(body.text.split(/\s+/).filter(Boolean).length, body.usage.outputTokens, name);
      console.log(`ok     ${name}: ${body.usage.inputTokens} + ${body.usage.outputTokens} tokens for ${spent} of at most ${MOST}: ${body.text}`);
    }
    process.exitCode = 0;
  } finally {
    await stop();
  }
}

await main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
