// Quittance as the end-to-end harness of the x402 repository starts and ends a facilitator: everything by its environment, and an end by
// `POST /close`, which the service itself does not have and this front for it does.

import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { createServer as createSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const {
  PORT = '4022',
  EVM_NETWORK = 'eip155:84532',
  EVM_RPC_URL = 'https://sepolia.base.org',
  SVM_NETWORK = 'solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1',
  SVM_RPC_URL = 'https://api.devnet.solana.com',
  SVM_GENESIS,
  QUITTANCE_BIN = 'quittance',
} = process.env;
const READY_WITHIN_MS = 90_000;

const freePort = () =>
  new Promise((resolve, reject) => {
    const probe = createSocket();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });

const network = (id, rpc, key, genesis) => `
[[networks]]
id = ${JSON.stringify(id)}
rpc = [${JSON.stringify(rpc)}]
signers = [{ key = "env:${key}" }]
${genesis ? `genesis = ${JSON.stringify(genesis)}\n` : ''}`;

// A user other than root runs the database and must be able to reach it.
const directory = mkdtempSync(join(tmpdir(), 'quittance-e2e-'));
chmodSync(directory, 0o711);
const [api, operations] = [await freePort(), await freePort()];
const configuration = `[server]
listen = "127.0.0.1:${api}"
operations_listen = "127.0.0.1:${operations}"
access = "open"

[database]
data_dir = ${JSON.stringify(join(directory, 'data'))}
${network(EVM_NETWORK, EVM_RPC_URL, 'EVM_PRIVATE_KEY')}${network(SVM_NETWORK, SVM_RPC_URL, 'SVM_PRIVATE_KEY', SVM_GENESIS)}`;
const file = join(directory, 'quittance.toml');
writeFileSync(file, configuration);

const service = spawn(QUITTANCE_BIN, ['serve', '--config', file], { stdio: ['ignore', 'inherit', 'inherit'] });
service.once('error', (error) => end(error.message));
service.once('close', () => end());

function end(problem) {
  rmSync(directory, { recursive: true, force: true });
  if (problem) console.error(problem);
  process.exit(problem ? 1 : 0);
}

function close() {
  if (service.exitCode === null && service.signalCode === null) service.kill('SIGTERM');
  else end();
}
process.on('SIGTERM', close);
process.on('SIGINT', close);

const front = createServer((incoming, response) => {
  if (incoming.method === 'POST' && incoming.url === '/close') {
    response.end('{}');
    return close();
  }
  const headers = { ...incoming.headers, host: `127.0.0.1:${api}` };
  const onward = request({ host: '127.0.0.1', port: api, path: incoming.url, method: incoming.method, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  onward.once('error', () => response.writeHead(502).end());
  return incoming.pipe(onward);
});

const deadline = Date.now() + READY_WITHIN_MS;
const isReady = () => fetch(`http://127.0.0.1:${operations}/readyz`).then(({ ok }) => ok, () => false);
while (!(await isReady())) {
  if (Date.now() > deadline) end('Quittance did not become ready.');
  await sleep(100);
}
front.listen(Number(PORT), '127.0.0.1', () => console.log('Facilitator listening'));
