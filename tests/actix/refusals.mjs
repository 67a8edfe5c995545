// What is not sold: payments that are not good, and a facilitator that refuses, is away, or does not know yet.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { ANSWERS } from '../clients/answers.mjs';
import { startFacilitator } from '../clients/facilitator.mjs';
import { freePort } from '../../dev/chain/anvil.mjs';
import {
  PRICE, asked, assertNotServed, assertNothingSold, assertSold, bought, customer, decoded, encoded, paidRequest, present, startShop, watched,
} from './shop.mjs';

const answer = (name) => ANSWERS.find((entry) => entry.name === name);

/** What is said in a header of a response to a paid request. */
const told = (seen, header = 'payment-response') => decoded(paidRequest(seen).answer[header]);

/** A purchase of something that says it costs less. */
async function boughtForLess(shop, price) {
  // Stands between client and shop, and offers everything for less.
  const server = createServer(async (incoming, outgoing) => {
    const chunks = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const { method, url, headers } = incoming;
    const payment = headers['payment-signature'];
    const response = await fetch(shop.url + url, { method, body: Buffer.concat(chunks), headers: payment ? { 'payment-signature': payment } : {} });
    const own = { 'content-type': 'application/json' };
    if (!payment) {
      const offer = decoded(response.headers.get('payment-required'));
      own['payment-required'] = encoded({ ...offer, accepts: offer.accepts.map((one) => ({ ...one, amount: price })) });
    }
    outgoing.writeHead(response.status, own).end(await response.text());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${server.address().port}`;
  const buyer = customer({ ...shop, url });
  try {
    return { payer: buyer.payer, ...(await watched(shop, { payer: buyer.payer }, buyer.buy)) };
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

export const REFUSALS = {
  'a payment of too little buys nothing, whatever it says of itself': async (shop) => {
    const less = await boughtForLess(shop, '1');
    assertNothingSold(less);
    assert.deepEqual([less.result.status, less.result.body.error, less.worked], [402, 'payment_not_offered', 0]);
    assert.equal(less.calls.length, 0);
    // The buyer signed for 1, and now says that it accepted the price.
    const payment = decoded(paidRequest(less).payment);
    payment.accepted.amount = String(PRICE);
    const seen = await watched(shop, less, () => present(shop, encoded(payment)));
    assertNothingSold(seen);
    const reason = 'invalid_exact_evm_payload_authorization_value_mismatch';
    assert.deepEqual([seen.result.status, decoded(seen.result.headers.get('payment-required')).error, seen.worked], [402, reason, 0]);
  },

  'what is no payment is told so': async (shop) => {
    for (const payment of ['forty-two', encoded({}), encoded({ x402Version: 1 }), encoded([])]) {
      const seen = await watched(shop, { payer: shop.chains.evm.account() }, () => present(shop, payment));
      assertNothingSold(seen);
      assert.deepEqual([seen.result.status, JSON.parse(seen.result.body).error, seen.calls.length], [400, 'invalid_payment', 0]);
    }
  },

  'a payment that the facilitator refuses buys no work': async (shop) => {
    for (const name of ['verify: invalid', 'verify: 400']) {
      const seen = await bought(shop, { altered: answer(name) });
      assertNothingSold(seen);
      assert.deepEqual([seen.result.status, seen.worked, asked(seen, '/settle').length], [402, 0, 0], name);
      assert.ok(told(seen, 'payment-required').error);
    }
  },

  'a payer that has to let Permit2 in is told so': async (shop) => {
    const body = JSON.stringify({ isValid: false, invalidReason: 'permit2_allowance_required', payer: '' });
    const seen = await bought(shop, { altered: { verify: () => ({ status: 200, body }) } });
    assertNothingSold(seen);
    assert.deepEqual([seen.result.status, told(seen, 'payment-required').error], [412, 'permit2_allowance_required']);
  },

  'a facilitator without a verdict sells no work': async (shop) => {
    for (const verify of [answer('verify: 503').verify, () => null, () => ({ status: 200, body: 'null' }), () => ({ status: 401, body: '{}' })]) {
      const seen = await bought(shop, { altered: { verify } });
      assertNothingSold(seen);
      assert.ok([502, 503].includes(seen.result.status), String(seen.result.status));
      assert.deepEqual([seen.worked, paidRequest(seen).answer['payment-required']], [0, undefined]);
    }
  },

  'a settlement that is refused sells nothing, and offers nothing again': async (shop) => {
    for (const name of ['settle: refused', 'settle: 400']) {
      const seen = await bought(shop, { altered: answer(name) });
      assertNothingSold(seen);
      assert.deepEqual([seen.result.status, asked(seen, '/settle').length, told(seen).success], [402, 1, false], name);
      assert.equal(paidRequest(seen).answer['payment-required'], undefined);
    }
  },

  'a settlement that cannot be asked for is no refusal': async (shop) => {
    for (const [name, code] of [['settle: 503', 'facilitator_unavailable'], ['settle: 429', 'facilitator_unavailable']]) {
      const seen = await bought(shop, { altered: answer(name) });
      assertNothingSold(seen);
      assert.deepEqual([seen.result.status, seen.result.body.error], [503, code], name);
      if (name.endsWith('429')) assert.equal(paidRequest(seen).answer['retry-after'], '1');
    }
  },

  'a settlement under way is asked for once more, as the same question': async (shop) => {
    const seen = await bought(shop, { altered: answer('settle: pending, then success') });
    assertSold(seen);
    const [first, second] = asked(seen, '/settle');
    assert.deepEqual([asked(seen, '/settle').length, first.request, first.key], [2, second.request, second.key]);
  },

  'a settlement that stays under way is not sold, and found by the same payment': async (shop) => {
    const unknown = answer('settle: pending, then success').settle;
    const seen = await bought(shop, { altered: { settle: (call) => unknown({ ...call, attempt: 1 }) } });
    assertNothingSold(seen);
    assert.deepEqual([seen.result.status, asked(seen, '/settle').length, told(seen).errorReason], [402, 2, 'settlement_pending']);
    const later = await watched(shop, seen, () => present(shop, paidRequest(seen).payment));
    assertSold(later);
  },

  'an answer that was lost is asked for once more, and sold': async (shop) => {
    const lostOnce = async ({ forward, attempt }) => {
      const made = await forward();
      return attempt === 1 ? null : made;
    };
    const seen = await bought(shop, { altered: { settle: lostOnce } });
    assertSold(seen);
    assert.equal(asked(seen, '/settle').length, 2);
  },

  'an answer that is lost for good is never served': async (shop) => {
    const seen = await bought(shop, { altered: answer('settle: answer lost') });
    assertNotServed(seen);
    assert.deepEqual([seen.result.status, seen.result.body.error, seen.spent], [503, 'facilitator_unavailable', PRICE]);
  },

  'a facilitator that is away at first is found later': async (shop) => {
    const port = await freePort();
    const server = await startShop({ chains: shop.chains, facilitator: `http://127.0.0.1:${port}` });
    let facilitator;
    try {
      assert.equal((await fetch(`${server.url}/paid`)).status, 503);
      facilitator = await startFacilitator(shop.quittance.url, port);
      let status = 503;
      const deadline = Date.now() + 10_000;
      while (status === 503 && Date.now() < deadline) status = (await fetch(`${server.url}/paid`)).status;
      assert.equal(status, 402);
    } finally {
      await server.stop();
      facilitator?.stop();
    }
  },
};
