// @faremeter/middleware, whose handler settles at our URL. Its getRequirements would ask for `/accepts`, which is Faremeter's own and
// not in x402, so the requirements are made here.

import { createHTTPFacilitatorHandler } from '@faremeter/middleware';
import { createMiddleware } from '@faremeter/middleware/express';
import express from 'express';
import { USDC } from '../faremeter.mjs';
import { GOODS, isSolana, sale } from '../program.mjs';

const network = sale.network;
const asset = USDC.address;
const extra = isSolana ? await feePayer() : { name: USDC.contractName, version: '2' };

/** The account that pays Solana's fees is in the list of what the facilitator supports. */
async function feePayer() {
  const { kinds } = await (await fetch(`${sale.facilitator}/supported`)).json();
  return kinds.find((kind) => kind.network === network && kind.x402Version === 2).extra;
}

const handler = {
  ...createHTTPFacilitatorHandler(sale.facilitator, { capabilities: { networks: [network], assets: [asset] }, schemes: ['exact'] }),
  getRequirements: async ({ accepts }) => accepts.map((requirements) => ({ ...requirements, maxTimeoutSeconds: 60, extra })),
};

const shop = express();
const paywall = await createMiddleware({
  x402Handlers: [handler],
  pricing: [{ amount: '1000', asset, recipient: sale.payTo, network }],
  supportedVersions: { x402v1: true, x402v2: true },
});
shop.get('/paid', paywall, (_request, response) => response.json(GOODS));
shop.listen(sale.port, '127.0.0.1');
