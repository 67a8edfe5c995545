// A node of a network that can be unwell: it stands between the service and a local chain.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { keccak256, toHex } from 'viem';

/** As if a transaction had been taken. */
const lose = ({ id, params }) => JSON.stringify({ jsonrpc: '2.0', id, result: keccak256(params[0]) });

/** As nodes do whose pool is full. */
const refuse = ({ id }) => JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32000, message: 'txpool is full' } });

/**
 * Starts it. All that it does changes with its fields:
 *
 * - `mood` is `well`, `away` or, for transactions that it is handed, `losing` or `refusing`.
 * - `delayMs` passes before each answer, `lagBlocks` are those that it has not heard of yet.
 * - `finality` is `well`, or `still`: the levels stay where they are.
 * - `blocks` are `well`, or `without transactions` (Solana). The block at the height `missing` is never shown (EVM).
 */
export async function startNode(upstream) {
  const node = { mood: 'well', delayMs: 0, lagBlocks: 0, finality: 'well', blocks: 'well', missing: null, lost: 0 };
  const levels = new Map();
  // As text, because large numbers of Solana would not survive.
  const forward = async (call) => {
    const response = await fetch(upstream, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(call),
    });
    return response.text();
  };
  const heightOf = async (tag) => {
    const call = { jsonrpc: '2.0', id: 1, method: 'eth_getBlockByNumber', params: [tag, false] };
    return Number(JSON.parse(await forward(call)).result.number);
  };
  const older = async ({ params: [tag, ...rest], ...call }) => {
    if (tag === 'latest' && (node.lagBlocks > 0 || node.missing !== null)) {
      const height = Math.max(0, (await heightOf('latest')) - node.lagBlocks);
      tag = toHex(height === node.missing ? height - 1 : height);
    }
    if (node.missing !== null && tag === toHex(node.missing)) return JSON.stringify({ jsonrpc: '2.0', id: call.id, result: null });
    if (node.finality === 'well') levels.clear();
    else if (['safe', 'finalized'].includes(tag)) {
      if (!levels.has(tag)) levels.set(tag, toHex(await heightOf(tag)));
      tag = levels.get(tag);
    }
    return forward({ ...call, params: [tag, ...rest] });
  };
  const bare = async (call) => {
    const answer = JSON.parse(await forward(call));
    delete answer.result?.transactions;
    return JSON.stringify(answer);
  };
  const answer = async (call) => {
    if (node.delayMs > 0) await sleep(node.delayMs);
    if (call.method === 'eth_sendRawTransaction' && node.mood === 'losing') return node.lost++, lose(call);
    if (call.method === 'eth_sendRawTransaction' && node.mood === 'refusing') return refuse(call);
    if (call.method === 'eth_getBlockByNumber') return older(call);
    if (call.method === 'getBlock' && node.blocks !== 'well') return bare(call);
    return forward(call);
  };
  const server = createServer(async (request, response) => {
    if (node.mood === 'away') return request.socket.destroy();
    try {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      const calls = JSON.parse(Buffer.concat(chunks));
      const answers = Array.isArray(calls) ? `[${(await Promise.all(calls.map(answer))).join(',')}]` : await answer(calls);
      response.writeHead(200, { 'content-type': 'application/json' }).end(answers);
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
