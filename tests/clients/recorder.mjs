// Stands between a client and a resource server, changes nothing, and remembers what was asked and answered.

import { once } from 'node:events';
import { createServer, request as ask } from 'node:http';

/** Resolves to `{ url, exchanges, clear, stop }`; an exchange is `{ path, headers, payment, status, answer, body }`, `answer` being the headers of it. */
export async function startRecorder(target) {
  const exchanges = [];
  const { hostname, port } = new URL(target);
  const server = createServer((incoming, outgoing) => {
    const { method, url: path, headers } = incoming;
    const exchange = { path, headers, payment: headers['payment-signature'] ?? headers['x-payment'] ?? null, status: null, answer: {}, body: '' };
    exchanges.push(exchange);
    const passed = ask({ hostname, port, method, path, headers }, (answer) => {
      exchange.status = answer.statusCode;
      exchange.answer = answer.headers;
      answer.on('data', (chunk) => (exchange.body += chunk));
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
    });
    passed.on('error', () => outgoing.destroy());
    incoming.pipe(passed);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    exchanges,
    clear: () => exchanges.splice(0),
    stop() {
      server.close();
      server.closeAllConnections();
    },
  };
}
