// A node of the network that can be unwell: it stands between the service and the local chain.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { keccak256 } from 'viem';

/** Answers a call that sends a transaction as if it had been taken, and loses it. */
const lose = ({ id, params }) => ({ jsonrpc: '2.0', id, result: keccak256(params[0]) });

/** Starts it; `mood` is `well`, `away` or `losing`. */
export async function startNode(upstream) {
  const node = { mood: 'well', lost: 0 };
  const forward = async (call) => {
    const response = await fetch(upstream, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(call),
    });
    return response.json();
  };
  const answer = (call) => {
    if (node.mood !== 'losing' || call.method !== 'eth_sendRawTransaction') return forward(call);
    node.lost++;
    return lose(call);
  };
  const server = createServer(async (request, response) => {
    if (node.mood === 'away') return request.socket.destroy();
    try {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      const calls = JSON.parse(Buffer.concat(chunks));
      const answers = Array.isArray(calls) ? await Promise.all(calls.map(answer)) : await answer(calls);
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answers));
    } catch {
      // The service has left, or the chain has ended.
      response.destroy();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  node.url = `http://127.0.0.1:${server.address().port}`;
  node.stop = () => (server.closeAllConnections(), new Promise((resolve) => server.close(resolve)));
  return node;
}
