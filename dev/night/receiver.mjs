// Whoever is told of events by webhooks, and may be unwell.

import { once } from 'node:events';
import { createServer } from 'node:http';

/** Starts it; while `down`, it takes nothing, and while it `hangs`, it does not even answer. `heard` has the name of every event that was taken, with how often. */
export async function startReceiver() {
  const receiver = { down: false, hangs: false, heard: new Map() };
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    if (receiver.hangs) return;
    if (receiver.down) return response.writeHead(500).end();
    const { event } = JSON.parse(Buffer.concat(chunks)).data;
    receiver.heard.set(event, (receiver.heard.get(event) ?? 0) + 1);
    response.writeHead(204).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  receiver.url = `http://127.0.0.1:${server.address().port}/webhooks`;
  receiver.stop = () => (server.closeAllConnections(), new Promise((resolve) => server.close(resolve)));
  return receiver;
}
