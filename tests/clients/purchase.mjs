// One purchase by one client, and what is wrong with it by the balances on chain and by who was served.

import { runClient } from './programs.mjs';

const PRICE = 1_000n;
const GOODS = 'forty-two';

const called = ({ calls }, step) => calls.some(({ path }) => path === `/${step}`);

/** One purchase, from the balances before to the balances after, with everything that was said in between. */
export async function purchase({ client, chain, network, url, merchant, facilitator, recorder, altered }) {
  const payer = chain.account();
  const [purse, till] = [await chain.balance(payer.address), await chain.balance(merchant)];
  facilitator.alter(altered);
  facilitator.clear();
  recorder.clear();
  const environment = { URL: url, NETWORK: network, PAYER_KEY: payer.key, RPC_URL: chain.rpcUrl };
  const result = await runClient(client.program, environment);
  facilitator.alter();
  return {
    result,
    payer,
    spent: purse - (await chain.balance(payer.address)),
    earned: (await chain.balance(merchant)) - till,
    served: recorder.exchanges.some(({ body }) => body.includes(GOODS)),
    // An MCP server refuses with an answer of status 200.
    status: recorder.exchanges.some(({ payment }) => payment) ? recorder.exchanges.at(-1).status : result.status,
    exchanges: [...recorder.exchanges],
    calls: [...facilitator.calls],
    // Each signs an authorization of its own; the same one sent again is no second payment.
    payments: new Set(facilitator.calls.map(({ payload }) => payload)).size,
  };
}

/** Somebody who has seen a paid request sends it again. */
export async function replay({ exchanges }, { url, chain, merchant }) {
  const paid = exchanges.findLast(({ payment, status }) => payment && status === 200);
  if (!paid) return [];
  const till = await chain.balance(merchant);
  const name = paid.headers['payment-signature'] ? 'payment-signature' : 'x-payment';
  const response = await fetch(url, { headers: { [name]: paid.payment } });
  const body = await response.text();
  const moved = (await chain.balance(merchant)) - till;
  return [
    body.includes(GOODS) && `one payment was served twice (${response.status})`,
    moved !== 0n && `a replay moved ${moved}`,
  ].filter(Boolean);
}

/** What is wrong with a purchase that should have succeeded. */
export function faultsOfSuccess({ result, spent, earned, served }) {
  return [
    !(result.status === 200 && result.body?.includes(GOODS)) && `the client got ${result.status ?? 'nothing'}: ${result.error ?? result.body}`,
    !served && 'the goods were not served',
    spent !== PRICE && `the payer spent ${spent}`,
    earned !== PRICE && `the merchant earned ${earned}`,
  ].filter(Boolean);
}

/** What is wrong with a purchase in which the service's answers were altered. */
export function faultsOfAltered(answer, bought) {
  if (!called(bought, 'verify') && !called(bought, 'settle')) return ['nobody asked the service'];
  // A resource server that only settles does not hear what verifying would have said.
  if (answer.verify && !called(bought, 'verify')) return [];
  const { spent, served, calls } = bought;
  const promised = calls.some(({ success }) => success);
  return [
    served && !promised && 'served without a success',
    spent > PRICE && `paid ${spent / PRICE} times`,
    spent > 0n && answer.moves === false && 'the money moved',
    spent === 0n && answer.moves === true && 'the money did not move',
    !served && answer.serves === true && 'not served after a success',
  ].filter(Boolean);
}
