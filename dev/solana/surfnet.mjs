// Starts and ends a Solana node. Surfnet comes from npm as an addon that runs inside this process, so it cannot outlive it.

import { once } from 'node:events';
import { createRequire } from 'node:module';
import { connect as connectSocket, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { repairBlocks } from './repair.mjs';
import { connect } from './rpc.mjs';

const FIRST_BLOCK_DEADLINE_SLOTS = 20;
const FIRST_BLOCK_DEADLINE_MS = 10_000;
const DRAIN_INTERVAL_MS = 1_000;

function surfnetAddon() {
  try {
    return createRequire(import.meta.url)('@solana/surfpool-linux-x64-gnu').Surfnet;
  } catch (error) {
    throw new Error(`The local Solana node is there for linux x64 with glibc only: ${error.message}`);
  }
}

/** Starts a node on loopback and resolves once it made a block. Without ports it chooses free ones. */
export async function startSurfnet({ slotTimeMs, port = 0, wsPort = 0 }) {
  const surfnet = surfnetAddon().startWithConfig({ offline: true, blockProductionMode: 'clock', slotTimeMs });
  // It keeps every event until somebody takes it, and this interval also keeps the process alive.
  const draining = setInterval(() => surfnet.drainEvents(), DRAIN_INTERVAL_MS);
  const doors = [];

  let stopped;
  const exited = new Promise((resolve) => (stopped = resolve));
  async function stop() {
    clearInterval(draining);
    await Promise.all(doors.map((door) => door.close()));
    surfnet.stop();
    stopped();
  }

  try {
    const rpc = connect(surfnet.rpcUrl);
    await firstBlock(rpc, Date.now() + Math.max(FIRST_BLOCK_DEADLINE_MS, FIRST_BLOCK_DEADLINE_SLOTS * slotTimeMs));
    const door = await repairBlocks(surfnet.rpcUrl, port);
    doors.push(door);
    const { url } = door;
    const wsUrl = await reachable(surfnet.wsUrl, wsPort, doors);
    const setAccount = (address, { lamports, data, owner }) =>
      surfnet.setAccount(address, lamports, Array.from(data), owner);
    return { url, wsUrl, pid: process.pid, rpc, setAccount, fundSol: surfnet.fundSol.bind(surfnet), exited, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The node chooses its ports itself; one that was asked for is a door to it. */
async function reachable(url, port, doors) {
  if (!port) return url;
  const { protocol, hostname, port: actual } = new URL(url);
  const sockets = new Set();
  const server = createServer((outside) => {
    const inside = connectSocket(Number(actual), hostname);
    for (const [socket, other] of [[outside, inside], [inside, outside]]) {
      sockets.add(socket);
      socket.setNoDelay();
      socket.pipe(other);
      socket.on('error', () => other.destroy());
      socket.on('close', () => (other.destroy(), sockets.delete(socket)));
    }
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  doors.push({
    async close() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  });
  return `${protocol}//127.0.0.1:${port}`;
}

/** Before its first block the node counts heights from another number, and blockhashes of then would expire too late. */
async function firstBlock(rpc, deadline) {
  const newest = async () => (await rpc.call('getLatestBlockhash', [{ commitment: 'processed' }])).value.blockhash;
  const first = await newest();
  while ((await newest()) === first) {
    if (Date.now() > deadline) throw new Error('The local Solana node makes no blocks.');
    await sleep(10);
  }
}
