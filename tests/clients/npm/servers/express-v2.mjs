// @x402/express

import { paymentMiddleware } from '@x402/express';
import express from 'express';
import { GOODS, sale } from '../program.mjs';
import { offer, resourceServer } from '../v2.mjs';

const shop = express();
shop.use(paymentMiddleware({ 'GET /paid': offer }, await resourceServer()));
shop.get('/paid', (_request, response) => response.json(GOODS));
shop.listen(sale.port, '127.0.0.1');
