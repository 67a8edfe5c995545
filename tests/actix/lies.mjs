// A facilitator, or somebody in front of it, that says what is not so. Whatever is said, nothing is served for it.

import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { asked, assertNotServed, assertNothingSold, assertSold, bought, customer, decoded, paidRequest, present, watched } from './shop.mjs';

const RECEIPT = 'settlement-receipt';
const receiptIn = (body) => body.extensions[RECEIPT].info.receipt;
const base64url = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const claimsOf = (jws) => JSON.parse(Buffer.from(jws.split('.')[1], 'base64url').toString());

/** The real answer to a settlement, changed. */
const changed = (change) => async ({ forward, request }) => {
  const real = await forward();
  const body = JSON.parse(real.body);
  return { ...real, body: JSON.stringify(change(body, request) ?? body) };
};

/** The receipt with other claims, signed by a key of the liar's own. */
function forged(jws, claims) {
  const [header] = jws.split('.');
  const input = `${header}.${base64url({ ...claimsOf(jws), ...claims })}`;
  const { privateKey } = generateKeyPairSync('ed25519');
  return `${input}.${sign(null, Buffer.from(input), privateKey).toString('base64url')}`;
}

/** A purchase in which the money moves, and the answer to it is a lie. */
async function lied(shop, change, error = 'facilitator_receipt_invalid') {
  const seen = await bought(shop, { altered: { settle: changed(change) } });
  assertNotServed(seen);
  assert.deepEqual([seen.result.status, seen.result.body.error], [502, error]);
  // The buyer, who has paid, is told by which transaction.
  assert.ok(decoded(paidRequest(seen).answer['payment-response']).transaction !== undefined);
}

export const LIES = {
  'a success without a receipt': (shop) => lied(shop, (body) => ({ ...body, extensions: undefined, extra: undefined })),

  'a success whose receipt was not ready in time is sold by the one that is asked for': async (shop) => {
    const late = { settle: changed((body) => void delete body.extensions) };
    const seen = await bought(shop, { altered: late });
    assertSold(seen);
  },

  'a receipt with other claims': (shop) =>
    lied(shop, (body) => {
      const receipt = receiptIn(body);
      const [header, , signature] = receipt.signature.split('.');
      receipt.signature = `${header}.${base64url({ ...claimsOf(receipt.signature), amount: '1' })}.${signature}`;
    }),

  'a receipt by another key': (shop) =>
    lied(shop, (body) => {
      receiptIn(body).signature = forged(receiptIn(body).signature, {});
    }),

  'an answer that contradicts its own receipt': (shop) =>
    lied(shop, (body) => {
      body.transaction = `0x${'ab'.repeat(32)}`;
    }),

  'a success of another amount, on another network, by no transaction': async (shop) => {
    for (const lie of [{ amount: '1' }, { network: 'eip155:1' }, { transaction: '' }]) {
      await lied(shop, (body) => void Object.assign(body, lie), 'facilitator_malformed');
    }
  },

  "a success that is made up, with somebody else's receipt": async (shop) => {
    let stolen;
    const first = await bought(shop, { altered: { settle: changed((body) => void (stolen = body)) } });
    assert.equal(first.result.status, 200);
    const seen = await bought(shop, { altered: { settle: () => ({ status: 200, body: JSON.stringify(stolen) }) } });
    assertNothingSold(seen);
    assert.deepEqual([seen.result.status, seen.result.body.error], [502, 'facilitator_receipt_invalid']);
  },

  "a success that is made up, with the buyer's own receipt of the purchase before": async (shop) => {
    const buyer = customer(shop);
    let before;
    const first = await watched(shop, { payer: buyer.payer, altered: { settle: changed((body) => void (before = body)) } }, buyer.buy);
    assert.equal(first.result.status, 200);
    const repeat = { settle: () => ({ status: 200, body: JSON.stringify(before) }) };
    const seen = await watched(shop, { payer: buyer.payer, altered: repeat }, buyer.buy);
    assertNothingSold(seen);
    assert.deepEqual([seen.result.status, seen.result.body.error], [502, 'facilitator_receipt_invalid']);
    // The new payment, which nobody has used, is still good.
    assert.equal((await present(shop, paidRequest(seen).payment)).status, 200);
  },

  'a success that is made up is served where receipts are switched off': async (shop) => {
    const madeUp = ({ request }) => {
      const { network, amount } = request.paymentRequirements;
      return { status: 200, body: JSON.stringify({ success: true, transaction: '0x1', network, amount, payer: '' }) };
    };
    const checked = await bought(shop, { altered: { settle: madeUp } });
    assertNothingSold(checked);
    const unchecked = await bought(shop, { path: '/unsigned', altered: { settle: madeUp } });
    assert.deepEqual([unchecked.result.status, unchecked.spent, asked(unchecked, '/settle').length], [200, 0n, 1]);
  },

  'a success with an error': async (shop) => {
    const settle = async ({ forward }) => ({ ...(await forward()), status: 400 });
    const seen = await bought(shop, { altered: { settle } });
    assertNotServed(seen);
    assert.deepEqual([seen.result.status, seen.result.body.error], [502, 'facilitator_malformed']);
  },
};
