// A merchant's server that is told of events by webhooks, and believes only those that are signed (Standard Webhooks).

import { createHmac, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';

/** Whether a body was signed with a secret, as the specification says. */
function isSigned(headers, body, secret) {
  const key = Buffer.from(secret.replace('whsec_', ''), 'base64');
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
  const expected = createHmac('sha256', key).update(signed).digest();
  return headers['webhook-signature'].split(' ').some((signature) => {
    const given = Buffer.from(signature.replace('v1,', ''), 'base64');
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
}

/** Starts the server; `told(type, invoice)` waits for an event of an invoice. */
export async function startReceiver() {
  const received = [];
  const waiting = new Set();
  let secret;
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    const good = secret && isSigned(request.headers, body, secret);
    response.writeHead(good ? 204 : 400).end();
    if (!good) return;
    received.push(JSON.parse(body));
    waiting.forEach((look) => look());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  const told = (type, invoice) =>
    new Promise((resolve, reject) => {
      const impatience = setTimeout(() => reject(new Error(`Nobody was told ${type} of ${invoice}.`)), 30_000);
      const look = () => {
        const event = received.find((event) => event.type === type && event.data.invoice === invoice);
        if (!event) return;
        clearTimeout(impatience);
        waiting.delete(look);
        resolve(event);
      };
      waiting.add(look);
      look();
    });
  const stop = () => new Promise((resolve) => server.close(resolve));
  return { url: `http://127.0.0.1:${server.address().port}/webhooks`, trust: (given) => (secret = given), told, stop };
}
