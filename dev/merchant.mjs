// A demo merchant that sells inferences by x402 version 2, with the official @x402/express middleware.
//
//   node dev/merchant.mjs [--facilitator http://127.0.0.1:4020] [--network eip155:84532]… [--pay-to 0x…] [--port 4402]

import { HTTPFacilitatorClient } from '@x402/core/server';
import { ExactEvmScheme } from '@x402/evm/exact/server';
import { paymentMiddleware, x402ResourceServer } from '@x402/express';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { roles } from './chain/accounts.mjs';
import { closeWhenAsked, fail, report } from './lifetime.mjs';
import { serve } from './server.mjs';
import { DESCRIPTION, PATH, PRICE, routes, shop } from './shop.mjs';

/** Starts the merchant; with several networks the buyer chooses where to pay. */
export async function startMerchant({ facilitator, networks, payTo, port = 0 }) {
  const resourceServer = new x402ResourceServer(new HTTPFacilitatorClient({ url: facilitator }));
  for (const network of networks) resourceServer.register(network, new ExactEvmScheme());

  const sale = {
    accepts: networks.map((network) => ({ scheme: 'exact', price: PRICE, network, payTo, maxTimeoutSeconds: 60 })),
    description: DESCRIPTION,
    mimeType: 'application/json',
  };
  return serve(shop(paymentMiddleware(routes(sale), resourceServer)), port);
}

async function main() {
  const { values } = parseArgs({
    options: {
      facilitator: { type: 'string', default: 'http://127.0.0.1:4020' },
      network: { type: 'string', multiple: true, default: ['eip155:84532'] },
      'pay-to': { type: 'string', default: roles().merchant.address },
      port: { type: 'string', default: '4402' },
    },
  });
  const { facilitator, network: networks, 'pay-to': payTo } = values;
  const merchant = await startMerchant({ facilitator, networks, payTo, port: Number(values.port) });
  closeWhenAsked(merchant.stop, { withParent: true });
  report({ url: merchant.url + PATH, price: PRICE, networks, payTo });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main().catch(fail);
