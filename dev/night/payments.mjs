// Payments at a steady rate, by a server that does as those of the SDKs do, only longer: it asks again with the same body until it has been
// told how the payment ended.

import { setTimeout as sleep } from 'node:timers/promises';
import { privateKeyToAccount } from 'viem/accounts';
import { toEventSelector } from 'viem';
import { authorize } from '../wallet.mjs';

const USED = toEventSelector('AuthorizationUsed(address,bytes32)');
const TRANSFER = toEventSelector('Transfer(address,address,uint256)');
/** Told by the token, of a payment that the ledger does not know. */
const USED_BEFORE = 'invalid_exact_evm_nonce_already_used';
/** Refusals that a night like this has a reason for. */
const EXPECTED = ['settlement_cost_exceeds_limit'];
const PATIENCE_MS = 400_000;
const ASK_WITHIN_MS = 30_000;
const ATOMIC = '1000';
const AT_ONCE = 20;
/** Between two questions, the longer the more there were: thousands wait when the service is away for minutes. */
const ASK_AGAIN_MS = 500;
const ASK_AGAIN_MAX_MS = 5_000;
/** Longer than the night goes on after the copy, so that nothing is refused for its age that would be for a better reason. */
const VALID_SECONDS = 3_600;

/** What an answer means: that it was paid, that it was and an answer that was lost has said so, that it will not be, or nothing yet. */
function meaning({ status, body }) {
  if (status === 200 && body.success === true) return { told: 'paid' };
  if (body.errorReason === 'duplicate_settlement') return { told: 'before' };
  if (status < 500 && status !== 429 && body.errorReason !== 'settlement_pending') return { told: 'refused', reason: body.errorReason };
  return null;
}

async function ask(url, key, body) {
  const response = await fetch(`${url}/settle`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(ASK_WITHIN_MS),
  });
  return { status: response.status, body: await response.json() };
}

/** Settles one payment at whichever replica answers, and returns what was said in the end. */
async function settle({ urls, key }, body, number) {
  const deadline = Date.now() + PATIENCE_MS;
  for (let attempt = 0; Date.now() < deadline; attempt++) {
    const answer = await ask(urls[(number + attempt) % urls.length], key, body).catch(() => null);
    const meant = answer && meaning(answer);
    if (meant) return { ...meant, attempts: attempt + 1 };
    await sleep(Math.min(ASK_AGAIN_MS * 2 ** attempt, ASK_AGAIN_MAX_MS));
  }
  return { told: 'nothing', attempts: 0 };
}

/** Begins to pay `perSecond` times a second. */
export function startPayments({ chain, payTo, perSecond, ...service }) {
  const { network, usdc, usdcName, usdcVersion, payers } = chain.world;
  const accounts = payers.map(({ key }) => privateKeyToAccount(key));
  const extra = { name: usdcName, version: usdcVersion };
  const requirements = { scheme: 'exact', network, asset: usdc, amount: ATOMIC, payTo, maxTimeoutSeconds: VALID_SECONDS, extra };
  const ended = [];
  const paid = [];
  let stopped = false;
  const pay = async (number) => {
    const account = accounts[number % accounts.length];
    const body = await authorize(account, requirements);
    const began = Date.now();
    const outcome = await settle(service, body, number);
    if (outcome.told === 'paid') paid.push({ body, began });
    return { nonce: body.paymentPayload.payload.authorization.nonce, began, took: Date.now() - began, ...outcome };
  };
  const paying = (async () => {
    const began = Date.now();
    for (let number = 0; !stopped; number++) {
      ended.push(pay(number));
      await sleep(Math.max(0, began + ((number + 1) * 1_000) / perSecond - Date.now()));
    }
  })();
  return {
    /** How many were told as paid up to now. */
    countPaid: () => paid.length,
    /**
     * Asks again for those that were told as paid since a copy was begun, and returns what was told of them now. Those that were under way when it was
     * begun are in it, and told that they were settled already. Of the others the token says that they were, or the ledger, if they came later.
     */
    async askAgain({ begunAt, skipped }) {
      const [asked, answers] = [paid.slice(skipped), []];
      const next = asked.entries();
      const asker = async () => {
        for (const [number, { body, began }] of next) answers.push({ began, ...(await settle(service, body, number)) });
      };
      await Promise.all(Array.from({ length: AT_ONCE }, asker));
      const inTheCopy = answers.filter(({ began }) => began < begunAt);
      const isRight = ({ told, reason, began }) => told === 'before' || (reason === USED_BEFORE && began >= begunAt);
      return {
        asked: asked.length,
        told: count(answers.map(({ told, reason }) => reason ?? told)),
        inTheCopy: inTheCopy.length,
        byToken: answers.filter(({ reason }) => reason === USED_BEFORE).length,
        wrong: answers.filter((answer) => !isRight(answer)).length,
      };
    },
    /** Begins nothing new, and waits for the end of what was begun. */
    async stop() {
      stopped = true;
      await paying;
      return Promise.all(ended);
    },
  };
}

function count(names) {
  const counts = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

/**
 * What the chain says of the payments, beside what was told of them: how many there were, and how many were told wrongly. Of what was under way when
 * the database was lost the copy may not know that it was asked for: that its authorization was used is the truth, and all that it can tell.
 */
export async function judge({ chain, payTo, copy: { madeAt, lostAt, backAt } }, payments) {
  const logs = (topics) => chain.rpc.call('eth_getLogs', [{ fromBlock: '0x0', toBlock: 'latest', address: chain.world.usdc, topics }]);
  const recipient = `0x${payTo.slice(2).toLowerCase().padStart(64, '0')}`;
  const [used, transfers] = [await logs([USED]), await logs([TRANSFER, null, recipient])];
  const times = count(used.map(({ topics }) => topics[2]));
  const moved = ({ nonce }) => times[nonce] ?? 0;
  const isLost = ({ began, took, reason }) => reason === USED_BEFORE && began > madeAt && began <= lostAt && began + took >= lostAt;
  const lost = payments.filter(isLost);
  const of = (...told) => payments.filter((payment) => told.includes(payment.told) && !isLost(payment));
  const took = payments.map(({ took }) => took).sort((one, other) => one - other);
  return {
    payments: payments.length,
    paid: of('paid').length,
    toldBefore: of('before').length,
    lost: lost.length,
    paidSince: of('paid').filter(({ began }) => began > backAt).length,
    unexpected: of('refused').filter(({ reason }) => !EXPECTED.includes(reason)).length,
    refused: count(of('refused').map(({ reason }) => reason)),
    unknown: of('nothing').length,
    slowestSeconds: took.at(-1) / 1_000,
    medianSeconds: took[Math.floor(took.length / 2)] / 1_000,
    wrong:
      [...of('paid', 'before'), ...lost].filter((payment) => moved(payment) !== 1).length +
      of('refused').filter((payment) => moved(payment) !== 0).length +
      payments.filter((payment) => moved(payment) > 1).length +
      Math.abs(transfers.length - payments.filter((payment) => moved(payment) === 1).length),
  };
}
