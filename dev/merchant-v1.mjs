// A demo merchant that sells inferences by x402 version 1, with the x402-express middleware that older services still run.
//
//   node dev/merchant-v1.mjs [--facilitator http://127.0.0.1:4020] [--network base-sepolia] [--pay-to 0x…] [--port 4403]

import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { paymentMiddleware } from 'x402-express';
import { roles } from './chain/accounts.mjs';
import { closeWhenAsked, fail, report } from './lifetime.mjs';
import { serve } from './server.mjs';
import { DESCRIPTION, PATH, PRICE, routes, shop } from './shop.mjs';

/** Starts the merchant; version 1 knows networks by names such as `base-sepolia`. */
export async function startMerchantV1({ facilitator, network, payTo, port = 0 }) {
  const sale = { price: PRICE, network, config: { description: DESCRIPTION, mimeType: 'application/json' } };
  return serve(shop(paymentMiddleware(payTo, routes(sale), { url: facilitator })), port);
}

async function main() {
  const { values } = parseArgs({
    options: {
      facilitator: { type: 'string', default: 'http://127.0.0.1:4020' },
      network: { type: 'string', default: 'base-sepolia' },
      'pay-to': { type: 'string', default: roles().merchant.address },
      port: { type: 'string', default: '4403' },
    },
  });
  const { facilitator, network, 'pay-to': payTo } = values;
  const merchant = await startMerchantV1({ facilitator, network, payTo, port: Number(values.port) });
  closeWhenAsked(merchant.stop, { withParent: true });
  report({ url: merchant.url + PATH, price: PRICE, network, payTo });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main().catch(fail);
