// Starts the programs of the clients and servers, and ends them by their process ids.

import { spawn } from 'node:child_process';
import { get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { endWithUs } from '../../dev/lifetime.mjs';

const READY_DEADLINE_MS = 60_000;
const ANSWER_DEADLINE_MS = 5_000;
const CLIENT_DEADLINE_MS = 90_000;
const STOP_DEADLINE_MS = 5_000;

function start({ command, args, cwd, environment: own }, environment) {
  const child = spawn(command, args, { cwd, env: { ...process.env, ...own, ...environment }, stdio: ['ignore', 'pipe', 'pipe'] });
  endWithUs(child);
  const said = { out: '', err: '' };
  child.stdout.on('data', (chunk) => (said.out += chunk));
  child.stderr.on('data', (chunk) => (said.err += chunk));
  child.on('error', (error) => (said.err += error.message));
  const exited = new Promise((resolve) => child.once('close', resolve));
  const running = () => child.pid !== undefined && child.exitCode === null && child.signalCode === null;
  const lastWords = () => (said.err.trim() || said.out.trim()).split('\n').slice(-12).join('\n');
  async function stop() {
    if (!running()) return;
    child.kill('SIGTERM');
    const impatience = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS);
    await exited;
    clearTimeout(impatience);
  }
  return { said, exited, running, lastWords, stop };
}

/** Whether somebody answers there. A `fetch` would refuse some ports, such as 6000. */
const answers = (url) =>
  new Promise((resolve) => {
    const asked = get(url, { timeout: ANSWER_DEADLINE_MS, agent: false }, (answer) => {
      answer.resume();
      resolve(true);
    });
    asked.on('timeout', () => asked.destroy());
    asked.on('error', () => resolve(false));
  });

/** Starts a resource server and resolves when it answers, whatever it answers. */
export async function startServer(program, environment) {
  const server = start(program, environment);
  const url = `http://127.0.0.1:${environment.PORT}`;
  const deadline = Date.now() + READY_DEADLINE_MS;
  while (server.running() && Date.now() < deadline) {
    if (await answers(url)) return { url, ...server };
    await sleep(50);
  }
  const end = server.running() ? 'does not answer' : 'ended';
  await server.stop();
  throw new Error(`The server ${end}: ${server.lastWords()}`);
}

/** Runs a client to its end and resolves to what it reported. */
export async function runClient(program, environment) {
  const client = start(program, environment);
  const impatience = setTimeout(client.stop, CLIENT_DEADLINE_MS);
  await client.exited;
  clearTimeout(impatience);
  const line = client.said.out.trim().split('\n').at(-1);
  try {
    return JSON.parse(line);
  } catch {
    return { status: null, error: `no report: ${client.lastWords()}` };
  }
}
