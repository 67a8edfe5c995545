// Starts and ends the anvil process. The binary comes from npm and is called directly, without a wrapper in between, so
// that the pid we hold is the node's own.

import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { endWithUs } from '../lifetime.mjs';
import { connect } from './rpc.mjs';

// Base allows far more gas per block than anvil's 30 million; with the small default a load test would measure anvil.
const BLOCK_GAS_LIMIT = 150_000_000;
// Base's fee is a few hundredths of a gwei; anvil would start at a full gwei.
const BASE_FEE_WEI = 10_000_000;
// The tests take theirs from 12,000 on.
const PORTS = [5_000, 12_000];
const START_DEADLINE_MS = 10_000;
const TRIES = 3;
const STOP_DEADLINE_MS = 10_000;

/** `ANVIL` wins, then the npm package (linux x64), then whatever is on the PATH. */
function anvilBinary() {
  if (process.env.ANVIL) return process.env.ANVIL;
  const packaged = fileURLToPath(new URL('../node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil', import.meta.url));
  return existsSync(packaged) ? packaged : 'anvil';
}

async function isFree(port) {
  const server = createServer();
  const listening = once(server, 'listening');
  server.listen(port, '127.0.0.1');
  try {
    await listening;
  } catch (error) {
    if (error.code === 'EADDRINUSE') return false;
    throw error;
  }
  server.close();
  await once(server, 'close');
  return true;
}

/** A free TCP port on loopback, below those that the system gives to outgoing connections, so that none takes it by chance. */
export async function freePort(preferred = randomInt(...PORTS)) {
  return (await isFree(preferred)) ? preferred : freePort();
}

async function answers(url, deadline, running) {
  while (running() && Date.now() < deadline) {
    const chainId = await connect(url).call('eth_chainId').catch(() => null);
    if (chainId) return true;
    await sleep(15);
  }
  return false;
}

/** Starts anvil on loopback and resolves when it answers; `args` are anvil's own. */
export async function startAnvil({ port = 0, ...options }) {
  if (port) return startOn(port, options);
  // Between the look at a port and its use somebody else may take it.
  for (let tries = 1; ; tries++) {
    try {
      return await startOn(await freePort(), options);
    } catch (error) {
      if (tries === TRIES) throw error;
    }
  }
}

async function startOn(port, { chainId, args = [] }) {
  const node = spawn(
    anvilBinary(),
    [
      '--silent',
      '--host', '127.0.0.1',
      '--port', String(port),
      '--chain-id', String(chainId),
      '--gas-limit', String(BLOCK_GAS_LIMIT),
      '--base-fee', String(BASE_FEE_WEI),
      ...args,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  endWithUs(node);
  let complaint = '';
  node.stderr.on('data', (chunk) => (complaint += chunk));
  node.on('error', (error) => (complaint += error.message));
  const exited = new Promise((resolve) => node.once('close', resolve));
  const running = () => node.pid !== undefined && node.exitCode === null && node.signalCode === null;

  const url = `http://127.0.0.1:${port}`;
  if (!(await answers(url, Date.now() + START_DEADLINE_MS, running))) {
    node.kill('SIGKILL');
    throw new Error(`anvil did not start on port ${port}: ${complaint.trim() || 'no answer'}`);
  }

  // SIGTERM lets anvil write --dump-state; a node that does not listen is killed after a while.
  async function stop() {
    if (!running()) return;
    node.kill('SIGTERM');
    const impatience = setTimeout(() => node.kill('SIGKILL'), STOP_DEADLINE_MS);
    await exited;
    clearTimeout(impatience);
  }

  return { url, wsUrl: `ws://127.0.0.1:${port}`, pid: node.pid, rpc: connect(url), exited, stop };
}
