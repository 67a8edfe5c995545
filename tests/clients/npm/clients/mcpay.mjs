// mcpay: an MCP client that pays for tools

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { createSigner } from 'x402/types';
import { load } from '../bundled.mjs';
import { isSolana, order, report, reportError } from '../program.mjs';

const { withX402Client } = await load('mcpay/client');

async function buy() {
  const signer = await createSigner(order.network, order.key);
  const client = new Client({ name: 'buyer', version: '1.0.0' }, { capabilities: {} });
  await client.connect(new StreamableHTTPClientTransport(new URL(order.url)));
  const buyer = withX402Client(client, { wallet: isSolana ? { svm: signer } : { evm: signer } });
  const { isError, content, _meta } = await buyer.callTool({ name: 'answer', arguments: {} });
  report({ status: isError ? 402 : 200, body: content[0].text, payment: _meta?.['x402/payment-response'] });
}

await buy().catch(reportError);
process.exit();
