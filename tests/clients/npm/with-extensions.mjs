// What x402 calls extensions, between other people's shop and buyer: a payment that its buyer has given a name, whom a settlement is attributed
// to, and a receipt in the shape of `offer-receipt`. Run by scripts/test-clients.sh; the binary is QUITTANCE_BIN.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { HTTPFacilitatorClient, x402ResourceServer } from '@x402/core/server';
import { ExactEvmScheme as BuyersScheme } from '@x402/evm/exact/client';
import { ExactEvmScheme as ShopsScheme } from '@x402/evm/exact/server';
import { paymentMiddleware } from '@x402/express';
import { BuilderCodeClientExtension, builderCodeResourceServerExtension, declareBuilderCodeExtension, parseBuilderCodeSuffixFromCalldata } from '@x402/extensions/builder-code';
import { extractReceiptFromResponse, verifyReceiptSignatureJWS } from '@x402/extensions/offer-receipt';
import { appendPaymentIdentifierToExtensions, declarePaymentIdentifierExtension, generatePaymentId, paymentIdentifierResourceServerExtension } from '@x402/extensions/payment-identifier';
import { wrapFetchWithPayment, x402Client } from '@x402/fetch';
import express from 'express';
import { privateKeyToAccount } from 'viem/accounts';
import { command, openMerchant } from '../../../dev/demo/merchant-account.mjs';
import { startWorld } from '../world.mjs';

const [SHOP, BUYER] = ['a_shop', 'a_wallet'];

/** A shop that names itself and wants each payment to have a name. */
async function startShop({ quittance, network, payTo }) {
  const key = /^API key\s+(\S+)/m.exec(await command(quittance, ['account', 'create', 'A shop']))[1];
  const authorization = { Authorization: `Bearer ${key}` };
  const createAuthHeaders = async () => ({ verify: authorization, settle: authorization, supported: authorization });
  const server = new x402ResourceServer(new HTTPFacilitatorClient({ url: quittance.url, createAuthHeaders }))
    .register(network, new ShopsScheme())
    .registerExtension(paymentIdentifierResourceServerExtension)
    .registerExtension(builderCodeResourceServerExtension);
  const extensions = { 'payment-identifier': declarePaymentIdentifierExtension(true), 'builder-code': declareBuilderCodeExtension(SHOP) };
  const accepts = { scheme: 'exact', network, price: '$0.001', payTo, maxTimeoutSeconds: 60 };
  const shop = express();
  shop.use(paymentMiddleware({ 'GET /paid': { accepts, description: 'An answer', mimeType: 'application/json', extensions } }, server));
  shop.get('/paid', (_request, response) => response.json({ answer: 42 }));
  const listening = shop.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  return { url: `http://127.0.0.1:${listening.address().port}/paid`, stop: () => listening.close() };
}

/** A buyer whose payments have this name. */
function buyer({ key, network, name }) {
  const client = new x402Client().register(network, new BuyersScheme(privateKeyToAccount(key)));
  client.registerExtension(new BuilderCodeClientExtension(BUYER));
  client.onBeforePaymentCreation(async ({ paymentRequired }) => {
    appendPaymentIdentifierToExtensions(paymentRequired.extensions, name);
  });
  return wrapFetchWithPayment(fetch, client);
}

async function main() {
  const world = await startWorld(['evm'], { evm: 3 });
  const { chains: { evm }, quittance } = world;
  const network = evm.network(2);
  const [till, first, second] = [evm.account(), evm.account(), evm.account()];
  const merchant = await openMerchant({ facilitator: quittance, name: 'A shop' });
  await merchant.register(network, till.address, (message) => privateKeyToAccount(till.key).signMessage({ message }));
  await merchant.ask('PUT', '/v1/settings', { offerReceipts: true });
  const shop = await startShop({ quittance, network, payTo: till.address });
  try {
    const name = generatePaymentId();
    const bought = await buyer({ key: first.key, network, name })(shop.url);
    assert.deepEqual([bought.status, await bought.json()], [200, { answer: 42 }]);
    const settled = JSON.parse(Buffer.from(bought.headers.get('payment-response'), 'base64'));

    const { input } = await evm.chain.rpc.call('eth_getTransactionByHash', [settled.transaction]);
    const attributed = parseBuilderCodeSuffixFromCalldata(input);
    assert.equal(attributed.a, SHOP);
    assert.deepEqual([attributed.s].flat(), [BUYER]);

    const receipt = extractReceiptFromResponse(bought);
    const { keys } = await (await fetch(`${quittance.url}/.well-known/jwks.json`)).json();
    const stated = await verifyReceiptSignatureJWS(receipt, keys[0]);
    assert.deepEqual([stated.network, stated.resourceUrl, stated.payer.toLowerCase()], [network, shop.url, first.address.toLowerCase()]);

    // The name is taken: another payment under it is refused, and moves nothing.
    const before = await evm.balance(second.address);
    const refused = await buyer({ key: second.key, network, name })(shop.url);
    assert.equal(refused.status, 402);
    assert.equal(await evm.balance(second.address), before);
    console.log('ok     @x402/express and @x402/fetch with payment-identifier, builder-code and offer-receipt');
  } finally {
    shop.stop();
    await world.stop();
  }
}

await main();
