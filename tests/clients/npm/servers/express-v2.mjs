// @x402/express

import { paymentMiddleware, setSettlementOverrides } from '@x402/express';
import express from 'express';
import { GOODS, sale } from '../program.mjs';
import { USED, offer, resourceServer } from '../v2.mjs';

const shop = express();
shop.use(paymentMiddleware({ 'GET /paid': offer }, await resourceServer()));
shop.get('/paid', (_request, response) => {
  if (offer.accepts.scheme === 'upto') setSettlementOverrides(response, { amount: USED });
  response.json(GOODS);
});
shop.listen(sale.port, '127.0.0.1');
