// mcpay: an MCP server with a paid tool

import { serve } from '@hono/node-server';
import { createMcpPaidHandler } from 'mcpay/handler';
import { GOODS, sale } from '../program.mjs';

const handler = createMcpPaidHandler(
  (server) => {
    server.paidTool('answer', 'An answer', '$0.001', {}, {}, async () => ({ content: [{ type: 'text', text: JSON.stringify(GOODS) }] }));
  },
  { recipient: { [sale.network]: sale.payTo }, facilitator: { url: sale.facilitator } },
);
serve({ fetch: handler, port: sale.port, hostname: '127.0.0.1' });
