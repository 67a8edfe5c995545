// What a resource server may be told instead of "valid" and "success", in the shapes that Quittance has for it.

import { setTimeout as sleep } from 'node:timers/promises';

// As long as a request of version 2 may wait for its answer, by default.
const SLOWEST_MS = 20_000;

const answer = (status, body, headers = {}) => ({ status, headers, body: JSON.stringify(body) });
const payerOf = ({ paymentPayload: { payload } }) => payload.authorization?.from ?? null;
const networkOf = ({ paymentRequirements: { network } }) => network;

const invalid = (request, invalidReason) => ({ isValid: false, invalidReason, payer: payerOf(request) });
const failed = (request, errorReason, transaction = '') => ({
  success: false,
  errorReason,
  errorMessage: 'This answer was made for a test.',
  transaction,
  network: networkOf(request),
  payer: payerOf(request),
});
const pending = (request, { body }) => answer(200, failed(request, 'settlement_pending', JSON.parse(body).transaction));

/** What the service itself answers when a signature is missing. */
function broken({ request, forward }) {
  const { paymentPayload } = request;
  return forward(JSON.stringify({ ...request, paymentPayload: { ...paymentPayload, payload: {} } }));
}

/**
 * Each has a name, words for people (`what`), what it does to `verify` and `settle`, whether the money moves in the end (`moves`), and whether a resource server
 * that hears of success only at the end serves what it sells (`serves`: true, false, or undefined where servers differ).
 */
export const ANSWERS = [
  {
    name: 'verify: invalid',
    what: '200 with `isValid: false`',
    verify: ({ request }) => answer(200, invalid(request, 'insufficient_funds')),
  },
  {
    name: 'verify: 400',
    what: 'what the service answers to a payment without its signature',
    verify: broken,
  },
  {
    name: 'verify: 503',
    what: '503 with the body that says so, as when no node answers',
    verify: ({ request }) => answer(503, invalid(request, 'unexpected_verify_error')),
  },
  {
    name: 'settle: refused',
    what: '200 with `success: false`, and nothing was sent',
    settle: ({ request }) => answer(200, failed(request, 'insufficient_funds')),
  },
  {
    name: 'settle: 400',
    what: 'as for verify',
    settle: broken,
  },
  {
    name: 'settle: 429',
    what: '429 with Retry-After, and nothing was sent',
    settle: ({ request }) => answer(429, failed(request, 'rate_limited'), { 'retry-after': '1' }),
  },
  {
    name: 'settle: 503',
    what: '503 with the body that says so, and nothing was sent',
    settle: ({ request }) => answer(503, failed(request, 'unexpected_settle_error')),
  },
  {
    name: 'settle: pending',
    what: 'the service settled, and every answer says `settlement_pending` with the transaction',
    settle: async ({ request, forward }) => pending(request, await forward()),
    moves: true,
  },
  {
    name: 'settle: pending, then success',
    what: 'the first answer says `settlement_pending`, the service answers the second request',
    // The first request is not passed on, so that the second has a success to hear of.
    settle: async ({ request, forward, attempt }) =>
      attempt === 1 ? answer(200, failed(request, 'settlement_pending', `0x${'ab'.repeat(32)}`)) : forward(),
    moves: undefined,
    serves: undefined,
  },
  {
    name: 'settle: sent twice',
    what: 'the service is asked twice and its second answer is passed on, which is a refusal, because a success is handed out once',
    settle: async ({ forward }) => {
      await forward();
      return forward();
    },
    moves: true,
    serves: undefined,
  },
  {
    name: 'settle: slow success',
    what: 'the success comes after twenty seconds, which is as long as a request of version 2 may wait',
    settle: async ({ forward }) => {
      const [result] = await Promise.all([forward(), sleep(SLOWEST_MS)]);
      return result;
    },
    moves: true,
    serves: true,
  },
  {
    name: 'settle: answer lost',
    what: 'the service settled, and the connection breaks before the answer',
    settle: async ({ forward }) => {
      await forward();
      return null;
    },
    moves: true,
  },
].map((entry) => ({ moves: false, serves: false, ...entry }));
