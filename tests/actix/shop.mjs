// A shop behind quittance-actix with what stands around it, and customers.

import assert from 'node:assert/strict';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { buyV1 } from '../../dev/buyer-v1.mjs';
import { accountOf, buy } from '../../dev/buyer.mjs';
import { freePort } from '../../dev/chain/anvil.mjs';
import { startFacilitator } from '../clients/facilitator.mjs';
import { startServer } from '../clients/programs.mjs';
import { startRecorder } from '../clients/recorder.mjs';

export const PRICE = 1_000n;
export const GOODS = 'forty-two';

const TARGET = process.env.CARGO_TARGET_DIR ?? join(homedir(), '.cache/quittance/target');
const PROGRAM = process.env.SHOP_BIN ?? join(TARGET, 'debug/examples/quittance-actix-shop');

/** Starts the shop's program with a till on each chain. */
export async function startShop({ chains, facilitator }) {
  const all = Object.values(chains);
  const tills = all.map((chain) => chain.account().address);
  const environment = {
    FACILITATOR_URL: facilitator,
    NETWORK: all.map((chain) => chain.network(2)).join(' '),
    PAY_TO: tills.join(' '),
    PORT: String(await freePort()),
  };
  const server = await startServer({ command: PROGRAM, args: [] }, environment);
  return { ...server, till: (chain) => tills[all.indexOf(chain)] };
}

/** A shop whose words to the facilitator pass through `facilitator`, and whose customers' words pass through `recorder`. */
export async function openShop({ chains, quittance }) {
  const started = [];
  const stop = async () => {
    while (started.length) await started.pop().stop();
  };
  try {
    const facilitator = await startFacilitator(quittance.url);
    started.push(facilitator);
    const server = await startShop({ chains, facilitator: facilitator.url });
    started.push(server);
    const recorder = await startRecorder(server.url);
    started.push(recorder);
    const lastWords = () => `${server.lastWords()}\n${facilitator.calls.map((call) => `${call.path} ${call.status} ${call.body}`).join('\n')}`;
    return { chains, quittance, facilitator, server, recorder, url: recorder.url, till: server.till, lastWords, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** How often a handler of the shop has worked. */
export const worked = async ({ server }) => (await fetch(`${server.url}/worked`)).json();

/** What a header of x402 holds. */
export const decoded = (header) => JSON.parse(Buffer.from(header, 'base64').toString());
export const encoded = (value) => Buffer.from(JSON.stringify(value)).toString('base64');

/** A customer's view of one route. */
export function customer(shop, { chain = shop.chains.evm, path = '/paid', payer = chain.account() } = {}) {
  const options = { url: shop.url + path, text: 'What is the answer?', rpc: chain.rpcUrl };
  return {
    payer,
    async buy() {
      const network = chain.network(2);
      return buy({ ...options, network, signer: await accountOf(network, payer.key) });
    },
    buyV1: () => buyV1({ ...options, network: chain.network(1), key: payer.key }),
  };
}

/**
 * Lets `purchase` happen and resolves to what it came to: its own result, what the payer spent, what the shop earned, what was asked of
 * the facilitator, how often a handler worked, and the headers of the last exchange.
 */
export async function watched(shop, { chain = shop.chains.evm, payer, altered }, purchase) {
  const { facilitator, recorder } = shop;
  const [purse, till, labour] = [await chain.balance(payer.address), await chain.balance(shop.till(chain)), await worked(shop)];
  facilitator.clear();
  recorder.clear();
  facilitator.alter(altered);
  let result;
  try {
    result = await purchase();
  } finally {
    facilitator.alter();
  }
  return {
    result,
    calls: [...facilitator.calls],
    exchanges: [...recorder.exchanges],
    spent: purse - (await chain.balance(payer.address)),
    earned: (await chain.balance(shop.till(chain))) - till,
    worked: (await worked(shop)) - labour,
  };
}

/** The same for a purchase with the official client. */
export async function bought(shop, { chain, path, altered, version = 2 } = {}) {
  const buyer = customer(shop, { chain, path });
  const seen = await watched(shop, { chain, payer: buyer.payer, altered }, version === 1 ? buyer.buyV1 : buyer.buy);
  return { payer: buyer.payer, ...seen };
}

/** What the facilitator was asked at one endpoint. */
export const asked = ({ calls }, path) => calls.filter((call) => call.path === path);

/** Nobody paid, nobody was served. */
export function assertNothingSold({ spent, earned, exchanges }) {
  assert.deepEqual([spent, earned], [0n, 0n]);
  assertNotServed({ exchanges });
}

export const assertNotServed = ({ exchanges }) => assert.ok(!exchanges.some(({ body }) => body.includes(GOODS)), 'the goods were served');

/** Paid once, and served. */
export function assertSold({ spent, earned, exchanges, result }) {
  assert.equal(result.status, 200, JSON.stringify(result));
  assert.deepEqual([spent, earned], [PRICE, PRICE]);
  assert.ok(exchanges.at(-1).body.includes(GOODS), exchanges.at(-1).body);
}

/** A paid request that went through, to be looked at or sent again. */
export const paidRequest = ({ exchanges }) => exchanges.findLast(({ payment }) => payment);

/** Sends a payment as it was recorded, or changed. */
export async function present(shop, payment, { path = '/paid', header = 'payment-signature' } = {}) {
  const response = await fetch(shop.url + path, { method: 'POST', headers: { [header]: payment } });
  return { status: response.status, headers: response.headers, body: await response.text() };
}
