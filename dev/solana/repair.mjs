// A door to the local node that sets right what it says of blocks, and of transactions that have landed.
//
// Surfnet counts blocks with transactions from its start and empty ones by their slots, so its heights jump, no block names its parent,
// none has the blockhash that transactions are built on, and their times are those of 1970. A real node's blocks form a chain, which is
// what those who follow one rely on. An account that a transaction closed holds what it held before, as Surfnet tells it; a real node
// does not name it among what was left. It takes `minContextSlot` for the oldest slot that is wanted. And a real node finds in a
// simulation that the transaction has landed already, while Surfnet would carry it out once more. Everything else passes untouched.

import { once } from 'node:events';
import { Agent, createServer, request } from 'node:http';

/** On a real cluster heights and slots differ, because slots are skipped; whoever takes one for the other finds out here. */
const HEIGHTS_AHEAD = 1_000_000;

const HASH_BEGINS = 'SURFNETxSAFEHASH';

/** Opens the door and resolves to `{ url, close }`. Without a port it chooses a free one. */
export async function repairBlocks(url, port = 0) {
  const agent = new Agent({ keepAlive: true });
  const landed = landings(url, agent);
  const ahead = await slotsAhead(url, agent);
  const timeOf = (slot) => call(url, agent, 'getBlockTime', [slot]);
  const server = createServer(async (asked, answer) => {
    try {
      const body = understandable(await read(asked));
      const { status, text } = await ask(url, agent, body);
      answer.writeHead(status, { 'content-type': 'application/json' }).end(await repaired(body, text, { landed, ahead, timeOf }));
    } catch {
      answer.destroy();
    }
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  async function close() {
    server.closeAllConnections();
    server.close();
    agent.destroy();
  }
  return { url: `http://127.0.0.1:${server.address().port}`, close };
}

async function read(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function ask(url, agent, body) {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const sent = request(url, { method: 'POST', agent, headers }, async (answer) => {
      try {
        resolve({ status: answer.statusCode, text: await read(answer) });
      } catch (error) {
        reject(error);
      }
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

async function call(url, agent, method, params) {
  const { text } = await ask(url, agent, JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }));
  return JSON.parse(text).result;
}

/** The call without what Surfnet would misunderstand. It is never behind itself, so no state of it is too old. */
function understandable(body) {
  if (!body.includes('"getSignaturesForAddress"')) return body;
  const asked = JSON.parse(body);
  delete asked.params[1]?.minContextSlot;
  return JSON.stringify(asked);
}

async function repaired(body, text, { landed, ahead, timeOf }) {
  if (!REPAIRED.some((method) => body.includes(`"${method}"`))) return text;
  const { method, params } = JSON.parse(body);
  const answer = JSON.parse(text);
  if (!answer.result) return text;
  if (method === 'getBlock') repairBlock(params[0], answer.result, ahead, await timeOf(params[0]));
  if (method === 'getTransaction') repairTransaction(answer.result, await timeOf(answer.result.slot));
  if (method === 'sendTransaction') landed.note(params[0], answer.result);
  if (method === 'simulateTransaction' && !answer.result.value.err && (await landed.has(params[0]))) {
    answer.result.value.err = 'AlreadyProcessed';
  }
  return JSON.stringify(answer);
}

const REPAIRED = ['getBlock', 'getTransaction', 'sendTransaction', 'simulateTransaction'];

function repairBlock(slot, block, ahead, blockTime) {
  Object.assign(block, {
    blockTime,
    blockHeight: slot + HEIGHTS_AHEAD,
    blockhash: hashOf(slot - ahead),
    parentSlot: Math.max(slot - 1, 0),
    previousBlockhash: hashOf(slot - ahead - 1),
  });
  for (const { meta } of block.transactions ?? []) leaveOutClosed(meta);
}

function repairTransaction(transaction, blockTime) {
  Object.assign(transaction, { blockTime });
  leaveOutClosed(transaction.meta);
}

function leaveOutClosed(meta) {
  const isOpen = ({ accountIndex }) => meta.postBalances[accountIndex] > 0;
  if (meta?.postTokenBalances) meta.postTokenBalances = meta.postTokenBalances.filter(isOpen);
}

/** The node names its blockhashes by a number of its own; by how much the slot of the newest block is ahead of it. */
async function slotsAhead(url, agent) {
  const { context, value } = await call(url, agent, 'getLatestBlockhash', [{ commitment: 'confirmed' }]);
  const number = Number.parseInt(value.blockhash.slice(HASH_BEGINS.length).replaceAll('x', '0'), 16);
  // The newest block that is served is the one before the slot in which the node answers.
  return context.slot - 1 - number;
}

/** Which messages have landed: of those that came to be sent, whose transactions the node knows. */
function landings(url, agent) {
  const sent = new Map();
  return {
    note: (wire, signature) => sent.set(messageOf(wire), signature),
    async has(wire) {
      const signature = sent.get(messageOf(wire));
      if (!signature) return false;
      return (await call(url, agent, 'getSignatureStatuses', [[signature]])).value[0] !== null;
    },
  };
}

/** What stands behind the signatures of a transaction: a byte that counts them, and 64 bytes for each. */
function messageOf(wire) {
  const bytes = Buffer.from(wire, 'base64');
  return bytes.subarray(1 + 64 * bytes[0]).toString('base64');
}

/** As the node itself writes a blockhash: a number in hexadecimal digits, of which zero is written with an x. */
function hashOf(number) {
  const digits = Math.max(number, 0).toString(16).replaceAll('0', 'x');
  return `${HASH_BEGINS}${digits.padStart(27, 'x')}`;
}
