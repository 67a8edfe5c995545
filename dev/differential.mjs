// Asks Quittance and the reference facilitator about the same payments, good ones and such with one or two faults, and says where they
// disagree. Every disagreement must have a reason in differential/known.mjs, and every reason there a disagreement.
//
//   node dev/differential.mjs [--count 2000] [--seed 1] [--write]     --write writes docs/DIFFERENCES.md

import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { parseAbi, encodeFunctionData } from 'viem';
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts';
import { startChain } from './chain/start.mjs';
import { startQuittance } from './demo/service.mjs';
import { faultsOf, mayMeet } from './differential/faults.mjs';
import { KNOWN, reasonFor } from './differential/known.mjs';
import { KINDS, body } from './differential/payments.mjs';
import { writeDocument } from './differential/document.mjs';
import { closeWhenAsked, fail } from './lifetime.mjs';
import { startReferenceFacilitator } from './reference-facilitator.mjs';

const AT_ONCE = 8;
const PAYERS = 40;

/** A generator of numbers that a seed decides (mulberry32). */
function generator(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  const below = (bound) => next() % bound;
  return {
    below,
    pick: (list) => list[below(list.length)],
    bytes32: () => `0x${Array.from({ length: 8 }, () => next().toString(16).padStart(8, '0')).join('')}`,
  };
}

const ABI = parseAbi([
  'function approve(address spender, uint256 value)',
  'function transferWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, bytes signature)',
  'struct Permitted { address token; uint256 amount; }',
  'struct Permit { Permitted permitted; uint256 nonce; uint256 deadline; }',
  'struct Witness { address to; uint256 validAfter; }',
  'function settle(Permit permit, address owner, Witness witness, bytes signature)',
]);

/** What the faults need: payers who lack something, and nonces that were used. */
async function setScene({ rpc, world }, random) {
  const send = async (from, to, functionName, args) => {
    await rpc.call('anvil_impersonateAccount', [from]);
    await rpc.call('anvil_setBalance', [from, '0xde0b6b3a7640000']);
    const transaction = { from, to, data: encodeFunctionData({ abi: ABI, functionName, args }), gas: '0x493e0' };
    const hash = await rpc.call('eth_sendTransaction', [transaction]);
    let receipt;
    while (!(receipt = await rpc.call('eth_getTransactionReceipt', [hash]))) await sleep(20);
    if (receipt.status !== '0x1') throw new Error(`${functionName} failed`);
  };
  const payers = world.payers.slice(0, PAYERS);
  const [willing, sponsored, [unwilling]] = [payers.slice(0, 20), payers.slice(20, 39), payers.slice(39)];
  const poorKey = generatePrivateKey();
  const poor = { key: poorKey, address: privateKeyToAddress(poorKey) };
  for (const { address } of [...willing, poor]) await send(address, world.usdc, 'approve', [world.permit2, 2n ** 256n - 1n]);

  const used = {};
  for (const kind of ['eip3009', 'permit2']) {
    const payment = KINDS[kind].draft(kind, world, willing[0], random);
    const { from, key, nonce } = payment;
    const { payload } = (await body(payment)).paymentPayload;
    const { buyer } = world.accounts;
    if (kind === 'eip3009') {
      const { to, value, validAfter, validBefore } = payload.authorization;
      await send(buyer.address, world.usdc, 'transferWithAuthorization', [from, to, value, validAfter, validBefore, nonce, payload.signature]);
    } else {
      const { permitted, deadline, witness } = payload.permit2Authorization;
      await send(buyer.address, world.exactPermit2Proxy, 'settle', [{ permitted, nonce: BigInt(nonce), deadline }, from, witness, payload.signature]);
    }
    used[kind] = { from, key, nonce };
  }
  return { world, willing, sponsored, unwilling, poor, used, stranger: { key: generatePrivateKey() } };
}

/** The plan of a run: each fault of each kind by itself, pairs of them, and good payments, `count` in all. */
function plan(count, random) {
  const kinds = Object.keys(KINDS);
  const singles = kinds.flatMap((kind) => faultsOf(kind).map((fault) => ({ kind, faults: [fault] })));
  const rest = Array.from({ length: Math.max(0, count - singles.length) }, () => {
    const kind = random.pick(kinds);
    if (random.below(4) === 0) return { kind, faults: [] };
    const faults = faultsOf(kind);
    const first = random.pick(faults);
    const second = random.pick(faults.filter((fault) => mayMeet(first, fault)));
    return { kind, faults: [first, second] };
  });
  return [...singles, ...rest];
}

async function request({ kind, faults }, scene, random) {
  const payer = random.pick(kind === 'permit2-sponsored' ? scene.sponsored : scene.willing);
  const payment = KINDS[kind].draft(kind, scene.world, payer, random);
  for (const { sign } of faults) sign?.(payment, scene);
  const sent = await body(payment);
  for (const { send } of faults) {
    // What one fault took away the other cannot change any more.
    try {
      send?.(sent, scene);
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof SyntaxError)) throw error;
    }
  }
  return sent;
}

async function verdict(url, sent) {
  const response = await fetch(`${url}/verify`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(sent) });
  const answer = await response.json();
  if (answer.isValid === true) return 'valid';
  return answer.invalidReason ?? `${response.status}: an exception`;
}

async function main() {
  const { values } = parseArgs({
    options: { count: { type: 'string', default: '2000' }, seed: { type: 'string', default: '1' }, write: { type: 'boolean' } },
  });
  const random = generator(Number(values.seed));
  const chain = await startChain({ payerCount: PAYERS });
  const started = [chain];
  const stop = async () => {
    while (started.length) await started.pop().stop();
  };
  closeWhenAsked(stop);
  try {
    const scene = await setScene(chain, random);
    const { key } = chain.world.accounts.signers[0];
    const ours = await startQuittance({ chains: [chain], keyOf: () => key });
    started.push(ours);
    const theirs = await startReferenceFacilitator({ networks: [{ network: chain.world.network, rpc: chain.url, key }] });
    started.push(theirs);

    const cases = plan(Number(values.count), random);
    const results = [];
    for (let start = 0; start < cases.length; start += AT_ONCE) {
      const some = cases.slice(start, start + AT_ONCE).map(async (one) => {
        const sent = await request(one, scene, random);
        const [own, reference] = await Promise.all([verdict(ours.url, sent), verdict(theirs.url, sent)]);
        return { ...one, own, reference, sent };
      });
      results.push(...(await Promise.all(some)));
    }
    finish(results, values.write);
  } finally {
    await stop();
  }
}

function finish(results, write) {
  const singles = results.filter(({ faults }) => faults.length === 1);
  const disagreements = results.filter(({ own, reference }) => own !== reference);
  const unexplained = disagreements.filter((one) => !reasonFor(one, singles));
  const met = new Set(disagreements.map((one) => reasonFor(one, singles)));
  const stale = KNOWN.filter((known) => !met.has(known));
  for (const { kind, faults, own, reference, sent } of unexplained.slice(0, 500)) {
    const what = faults.map(({ name }) => name).join(' and ') || 'good';
    console.log(`unexplained: ${kind}, ${what}: ours ${own}, theirs ${reference}\n  ${JSON.stringify(sent)}`);
  }
  for (const { what } of stale) console.log(`no longer so: ${what}`);
  const falsely = results.filter(({ faults, own }) => faults.length === 0 && own !== 'valid');
  for (const { kind, own } of falsely) console.log(`a good payment of kind ${kind} was refused: ${own}`);
  console.log(`${results.length} payments, ${disagreements.length} disagreements, ${unexplained.length} unexplained`);
  if (write) writeDocument({ results, singles });
  process.exitCode = unexplained.length || stale.length || falsely.length ? 1 : 0;
}

await main().catch(fail);
