// A demo merchant that sells inferences by x402 version 1, with the x402-express middleware that older services still run.
//
//   node dev/merchant-v1.mjs [--facilitator http://127.0.0.1:4020] [--network base-sepolia] [--pay-to 0x…] [--port 4403]
//                            [--asset MINT]     on Solana: a token instead of USDC

import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { paymentMiddleware } from 'x402-express';
import { closeWhenAsked, fail, report } from './lifetime.mjs';
import { serve } from './server.mjs';
import { DESCRIPTION, PATH, PRICE, priceIn, recipientOf, routes, shop } from './shop.mjs';

/** Starts the merchant; version 1 knows networks by names such as `base-sepolia` and `solana-devnet`. */
export async function startMerchantV1({ facilitator, network, payTo, asset, port = 0 }) {
  const price = asset ? priceIn({ address: asset, decimals: 6 }) : PRICE;
  const sale = { price, network, config: { description: DESCRIPTION, mimeType: 'application/json' } };
  return serve(shop(paymentMiddleware(payTo, routes(sale), { url: facilitator })), port);
}

async function main() {
  const { values } = parseArgs({
    options: {
      facilitator: { type: 'string', default: 'http://127.0.0.1:4020' },
      network: { type: 'string', default: 'base-sepolia' },
      'pay-to': { type: 'string' },
      asset: { type: 'string' },
      port: { type: 'string', default: '4403' },
    },
  });
  const { facilitator, network, asset } = values;
  const payTo = await recipientOf(network, values['pay-to']);
  const merchant = await startMerchantV1({ facilitator, network, payTo, asset, port: Number(values.port) });
  closeWhenAsked(merchant.stop, { withParent: true });
  report({ url: merchant.url + PATH, price: PRICE, network, payTo });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main().catch(fail);
