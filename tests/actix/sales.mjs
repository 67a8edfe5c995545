// What is sold: paid once, by the chain, and served once.

import assert from 'node:assert/strict';
import {
  GOODS, PRICE, asked, assertNotServed, assertNothingSold, assertSold, bought, customer, decoded, paidRequest, present, watched,
} from './shop.mjs';

/** Everything that must be so of one sale. */
async function sells(shop, { chain, version }) {
  const sale = await bought(shop, { chain, version });
  assertSold(sale);
  assert.equal(sale.worked, 1);
  const [settled] = asked(sale, '/settle');
  assert.equal(asked(sale, '/settle').length, 1);
  assert.match(settled.key, /^[0-9a-f-]{36}$/);
  const { payment } = sale.result;
  assert.deepEqual([payment.success, payment.network, payment.amount], [true, chain.network(version), String(PRICE)]);
  const { network, requirements, payer } = { network: payment.network, requirements: JSON.parse(settled.request).paymentRequirements, payer: payment.payer };
  assert.deepEqual([requirements.network, requirements.payTo, payer], [network, shop.till(chain), sale.payer.address]);
  return { ...sale, payment };
}

export const SALES = {
  'an offer is all that a request without payment gets': async (shop) => {
    const { evm, solana } = shop.chains;
    const payer = evm.account();
    const seen = await watched(shop, { payer }, async () => {
      const response = await fetch(`${shop.url}/paid?question=1`);
      return { status: response.status, headers: response.headers, body: await response.json() };
    });
    assertNothingSold(seen);
    assert.deepEqual([seen.result.status, seen.worked, seen.calls.length], [402, 0, 0]);
    assert.equal(seen.result.headers.get('cache-control'), 'no-store');
    const offer = decoded(seen.result.headers.get('payment-required'));
    assert.deepEqual([offer.x402Version, offer.error], [2, 'payment_required']);
    assert.deepEqual(offer.accepts.map(({ network }) => network), [evm.network(2), solana.network(2)]);
    assert.deepEqual(offer.accepts.map(({ payTo }) => payTo), [shop.till(evm), shop.till(solana)]);
    assert.ok(offer.accepts[1].extra.feePayer);
    assert.equal(new URL(offer.resource.url).search, '?question=1');
    assert.deepEqual(seen.result.body.accepts.map(({ network }) => network), [evm.network(1), solana.network(1)]);
  },

  'a sale on an EVM network': async (shop) => {
    const { payment } = await sells(shop, { chain: shop.chains.evm, version: 2 });
    assert.equal(payment.extensions['settlement-receipt'].info.receipt.format, 'jws');
  },

  'a sale on Solana': (shop) => sells(shop, { chain: shop.chains.solana, version: 2 }),
  'a sale by version 1 on an EVM network': (shop) => sells(shop, { chain: shop.chains.evm, version: 1 }),
  'a sale by version 1 on Solana': (shop) => sells(shop, { chain: shop.chains.solana, version: 1 }),

  'what a handler and a middleware outside know of a sale': async (shop) => {
    const buyer = customer(shop, { path: '/whose' });
    const { result } = await watched(shop, { payer: buyer.payer }, buyer.buy);
    assert.deepEqual(
      [result.body.payer, result.body.amount, result.body.network],
      [buyer.payer.address, String(PRICE), shop.chains.evm.network(2)],
    );
    assert.equal(result.body.requirements.payTo, shop.till(shop.chains.evm));
    const booked = await customer(shop);
    const sale = await watched(shop, { payer: booked.payer }, booked.buy);
    const again = await present(shop, paidRequest(sale).payment);
    assert.equal(again.headers.get('x-booked'), null);
    assert.equal(paidRequest(sale).answer['x-booked'], sale.result.payment.transaction);
    assert.equal(paidRequest(sale).answer['cache-control'], 'no-store');
  },

  'the same payment buys nothing again': async (shop) => {
    const sale = await bought(shop);
    assertSold(sale);
    const seen = await watched(shop, sale, () => present(shop, paidRequest(sale).payment));
    assertNothingSold(seen);
    assert.equal(seen.result.status, 402);
    // For another route it buys nothing either.
    const elsewhere = await watched(shop, sale, () => present(shop, paidRequest(sale).payment, { path: '/streamed' }));
    assertNothingSold(elsewhere);
    assert.equal(elsewhere.result.status, 402);
  },

  'the same payment sent five times at once buys once': async (shop) => {
    // A payment that nobody has presented yet: the route failed.
    const unused = await bought(shop, { path: '/failing' });
    const { payment } = paidRequest(unused);
    const seen = await watched(shop, unused, () => Promise.all(Array.from({ length: 5 }, () => present(shop, payment))));
    assert.deepEqual(seen.result.map(({ status }) => status).sort(), [200, 402, 402, 402, 402]);
    assert.equal(seen.result.filter(({ body }) => body.includes(GOODS)).length, 1);
    assert.deepEqual([seen.spent, seen.earned], [PRICE, PRICE]);
  },

  'a handler that fails costs nothing': async (shop) => {
    for (const [path, status, words] of [['/failing', 500, 'out of stock'], ['/erring', 409, 'taken']]) {
      const seen = await bought(shop, { path });
      assert.deepEqual([seen.spent, seen.earned, seen.worked, asked(seen, '/settle').length], [0n, 0n, 1, 0]);
      assert.equal(seen.result.status, status);
      assert.ok(paidRequest(seen).body.includes(words));
    }
  },

  'an answer that is too long to keep back costs nothing': async (shop) => {
    const seen = await bought(shop, { path: '/long' });
    assertNothingSold(seen);
    assert.deepEqual([seen.result.status, seen.result.body.error, asked(seen, '/settle').length], [500, 'answer_too_large', 0]);
  },

  'an answer in pieces is sold whole, and one without a body as it is': async (shop) => {
    const streamed = await bought(shop, { path: '/streamed' });
    assertSold(streamed);
    assert.equal(streamed.result.body, GOODS);
    assert.equal(paidRequest(streamed).answer['cache-control'], 'private, max-age=60');
    const empty = await bought(shop, { path: '/empty' });
    assert.deepEqual([empty.result.status, empty.result.body, empty.spent], [204, '', PRICE]);
    assertNotServed(empty);
  },
};
