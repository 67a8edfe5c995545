// A demo merchant that sells inferences by x402 version 2, with the official @x402/express middleware.
//
//   node dev/merchant.mjs [--facilitator http://127.0.0.1:4020] [--network eip155:84532]… [--pay-to 0x…]… [--port 4402]
//                         [--asset MINT] [--memo "…"]     on Solana: a token instead of USDC, and what buyers must write

import { HTTPFacilitatorClient } from '@x402/core/server';
import { paymentMiddleware, x402ResourceServer } from '@x402/express';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { closeWhenAsked, fail, report } from './lifetime.mjs';
import { serve } from './server.mjs';
import { DESCRIPTION, PATH, PRICE, priceIn, recipientOf, routes, shop } from './shop.mjs';
import { isSolana } from './solana/networks.mjs';

/**
 * Starts the merchant; with several networks the buyer chooses where to pay. `payTo` is an address, or a list from which
 * each network takes the one of its kind; `asset` and `memo` are for Solana.
 */
export async function startMerchant({ facilitator, networks, payTo, asset, memo, port = 0 }) {
  const resourceServer = new x402ResourceServer(new HTTPFacilitatorClient({ url: facilitator }));
  for (const network of networks) resourceServer.register(network, await schemeOf(network));

  const sale = {
    accepts: await Promise.all(
      networks.map(async (network) => ({
        scheme: 'exact',
        network,
        price: isSolana(network) && asset ? priceIn(asset) : PRICE,
        payTo: await recipientOf(network, payTo),
        maxTimeoutSeconds: 60,
        extra: isSolana(network) && memo ? { memo } : undefined,
      })),
    ),
    description: DESCRIPTION,
    mimeType: 'application/json',
  };
  return serve(shop(paymentMiddleware(routes(sale), resourceServer)), port);
}

async function schemeOf(network) {
  if (isSolana(network)) {
    const { ExactSvmScheme } = await import('@x402/svm/exact/server');
    return new ExactSvmScheme();
  }
  const { ExactEvmScheme } = await import('@x402/evm/exact/server');
  return new ExactEvmScheme();
}

async function main() {
  const { values } = parseArgs({
    options: {
      facilitator: { type: 'string', default: 'http://127.0.0.1:4020' },
      network: { type: 'string', multiple: true, default: ['eip155:84532'] },
      'pay-to': { type: 'string', multiple: true },
      asset: { type: 'string' },
      memo: { type: 'string' },
      port: { type: 'string', default: '4402' },
    },
  });
  const { facilitator, network: networks, 'pay-to': given, asset, memo } = values;
  const payTo = await Promise.all(networks.map((network) => recipientOf(network, given)));
  const merchant = await startMerchant({ facilitator, networks, payTo, asset, memo, port: Number(values.port) });
  closeWhenAsked(merchant.stop, { withParent: true });
  report({ url: merchant.url + PATH, price: PRICE, networks, payTo: networks.length === 1 ? payTo[0] : payTo });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main().catch(fail);
