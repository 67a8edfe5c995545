// A server that keeps the key of a signer, by the protocol of docs/SIGNERS.md, and may be away.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { privateKeyToAccount } from 'viem/accounts';

/** Starts it; while `away`, it does not answer. `entry` is the signer in a configuration. */
export async function startSigner({ name, key }) {
  const account = privateKeyToAccount(key);
  const signer = { away: false };
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    if (signer.away) return request.socket.destroy();
    const { digest } = JSON.parse(Buffer.concat(chunks));
    const signature = await account.sign({ hash: digest });
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ signature }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${server.address().port}/sign`;
  signer.entry = `{ name = "${name}", address = "${account.address}", remote = { url = "${url}", key_id = "${name}" } }`;
  signer.stop = () => (server.closeAllConnections(), new Promise((resolve) => server.close(resolve)));
  return signer;
}
