// @x402/hono

import { serve } from '@hono/node-server';
import { paymentMiddleware } from '@x402/hono';
import { Hono } from 'hono';
import { GOODS, sale } from '../program.mjs';
import { offer, resourceServer } from '../v2.mjs';

const shop = new Hono();
shop.use(paymentMiddleware({ 'GET /paid': offer }, await resourceServer()));
shop.get('/paid', (context) => context.json(GOODS));
serve({ fetch: shop.fetch, port: sale.port, hostname: '127.0.0.1' });
