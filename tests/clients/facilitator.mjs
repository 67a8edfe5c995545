// Stands between a resource server and Quittance. It passes everything on, unless it is told to answer something else.

import { once } from 'node:events';
import { createServer } from 'node:http';

// What of a question is passed on beside its body.
const PASSED_ON = ['content-type', 'authorization', 'idempotency-key'];

/**
 * Resolves to `{ url, calls, alter, clear, stop }`. A call is what a resource server asked for and was told: `{ path, payload, request, key,
 * status, success }`, with its `Idempotency-Key`. What `alter` takes stands in answers.mjs.
 */
export async function startFacilitator(target, port = 0) {
  const calls = [];
  let altered = {};
  let counts = {};

  async function answerTo({ method, path, headers, body }) {
    const passedOn = Object.fromEntries(PASSED_ON.filter((name) => headers[name]).map((name) => [name, headers[name]]));
    const forward = async (changed = body) => {
      const response = await fetch(target + path, {
        method,
        headers: { 'content-type': 'application/json', ...passedOn },
        body: method === 'POST' ? changed : undefined,
      });
      return { status: response.status, headers: {}, body: await response.text() };
    };
    const step = path.slice(1);
    const instead = altered[step];
    if (!instead) return forward();
    counts[step] = (counts[step] ?? 0) + 1;
    return instead({ request: body ? JSON.parse(body) : null, forward, attempt: counts[step] });
  }

  const server = createServer(async (incoming, outgoing) => {
    const chunks = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const { method, url: path, headers } = incoming;
    const body = Buffer.concat(chunks).toString();
    const key = headers['idempotency-key'] ?? null;
    const call = { path, payload: method === 'POST' ? payloadIn(body) : null, request: body, key, status: null, success: false };
    if (method === 'POST') calls.push(call);
    try {
      const answer = await answerTo({ method, path, headers, body });
      if (!answer) return outgoing.destroy();
      call.status = answer.status;
      call.body = answer.body;
      call.success = answer.status === 200 && succeeded(answer.body);
      outgoing.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers }).end(answer.body);
    } catch (error) {
      call.body = error.message;
      outgoing.destroy();
    }
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    calls,
    alter(answers = {}) {
      altered = answers;
      counts = {};
    },
    clear: () => calls.splice(0),
    stop() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function payloadIn(body) {
  try {
    return JSON.stringify(JSON.parse(body).paymentPayload.payload);
  } catch {
    return null;
  }
}

function succeeded(body) {
  try {
    return JSON.parse(body).success === true;
  } catch {
    return false;
  }
}
