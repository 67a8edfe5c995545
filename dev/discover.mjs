// Discovery with the official packages: a resource server declares what it sells, a buyer pays for it, and somebody else finds it.
//
//   node dev/discover.mjs --facilitator http://127.0.0.1:4020 --api-key key_… --network eip155:84532 --key 0x… --pay-to 0x…
//
// Prints one line of JSON: what the purchase came to, what is listed, and what a search finds.

import { HTTPFacilitatorClient } from '@x402/core/server';
import { ExactEvmScheme as EvmBuyer } from '@x402/evm/exact/client';
import { ExactEvmScheme as EvmSeller } from '@x402/evm/exact/server';
import { paymentMiddleware, x402ResourceServer } from '@x402/express';
import { bazaarResourceServerExtension, declareDiscoveryExtension, withBazaar } from '@x402/extensions/bazaar';
import { wrapFetchWithPaymentFromConfig } from '@x402/fetch';
import express from 'express';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { privateKeyToAccount } from 'viem/accounts';
import { fail, report } from './lifetime.mjs';
import { serve } from './server.mjs';

const PATIENCE_MS = 20_000;

/** A shop that sells the weather of any city, and says so to whoever looks for it. */
async function startShop({ facilitator, network, payTo }) {
  const resourceServer = new x402ResourceServer(facilitator).register(network, new EvmSeller());
  resourceServer.registerExtension(bazaarResourceServerExtension);
  const sale = {
    accepts: [{ scheme: 'exact', network, price: '$0.001', payTo, maxTimeoutSeconds: 60 }],
    description: 'The weather in a city',
    mimeType: 'application/json',
    serviceName: 'Skies of Norway',
    tags: ['weather', 'forecast'],
    extensions: declareDiscoveryExtension({
      input: { units: 'metric' },
      inputSchema: { properties: { units: { type: 'string', enum: ['metric', 'imperial'] } } },
      pathParamsSchema: { properties: { city: { type: 'string' } }, required: ['city'] },
      output: { example: { degrees: 7 }, schema: { properties: { degrees: { type: 'number' } } } },
    }),
  };
  const paywall = paymentMiddleware({ 'GET /weather/:city': sale }, resourceServer);
  const answer = (request, response) => response.json({ city: request.params.city, degrees: 7 });
  return serve(express().use(paywall).get('/weather/:city', answer));
}

/** Asks until there is something: an entry is written behind the answer to its payment. */
async function until(ask, isEnough) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const answer = await ask();
    if (isEnough(answer) || Date.now() > deadline) return answer;
    await sleep(20);
  }
}

async function main() {
  const { values } = parseArgs({
    options: {
      facilitator: { type: 'string' },
      'api-key': { type: 'string' },
      network: { type: 'string' },
      key: { type: 'string' },
      'pay-to': { type: 'string' },
    },
  });
  const { facilitator: url, network, key } = values;
  const authorization = { Authorization: `Bearer ${values['api-key']}` };
  const createAuthHeaders = async () => ({ verify: authorization, settle: authorization, supported: authorization });
  const facilitator = new HTTPFacilitatorClient({ url, createAuthHeaders });
  const shop = await startShop({ facilitator, network, payTo: values['pay-to'] });

  const client = new EvmBuyer(privateKeyToAccount(key));
  const fetchAndPay = wrapFetchWithPaymentFromConfig(fetch, { schemes: [{ network, client }] });
  const response = await fetchAndPay(`${shop.url}/weather/oslo?units=metric`);
  const purchase = { status: response.status, body: await response.json() };

  // Whoever looks for something has no key.
  const { bazaar } = withBazaar(new HTTPFacilitatorClient({ url })).extensions;
  const listed = await until(() => bazaar.listResources({ type: 'http', network }), ({ items }) => items.length > 0);
  const found = await bazaar.search({ query: 'weather forecast' });
  const nothing = await bazaar.search({ query: 'translations' });
  await shop.stop();
  report({ shop: shop.url, purchase, listed, found, nothing });
}

await main().catch(fail);
