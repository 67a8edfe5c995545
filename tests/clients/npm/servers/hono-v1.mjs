// x402-hono

import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { paymentMiddleware } from 'x402-hono';
import { GOODS, sale } from '../program.mjs';

const { payTo, price, network, facilitator, port } = sale;
const shop = new Hono();
shop.use(paymentMiddleware(payTo, { 'GET /paid': { price, network } }, { url: facilitator }));
shop.get('/paid', (context) => context.json(GOODS));
serve({ fetch: shop.fetch, port, hostname: '127.0.0.1' });
