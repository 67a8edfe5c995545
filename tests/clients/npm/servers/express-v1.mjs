// x402-express

import express from 'express';
import { paymentMiddleware } from 'x402-express';
import { GOODS, sale } from '../program.mjs';

const { payTo, price, network, facilitator, port } = sale;
const shop = express();
shop.use(paymentMiddleware(payTo, { 'GET /paid': { price, network } }, { url: facilitator }));
shop.get('/paid', (_request, response) => response.json(GOODS));
shop.listen(port, '127.0.0.1');
