// One payment of the demo: balances before, the purchase, balances after, and whether they agree with the price.

import { formatUnits } from 'viem';
import { isSolana } from '../solana/networks.mjs';

const PRICE = 1_000n; // 0.001 USDC

const usdc = (amount) => `${formatUnits(amount, 6)} USDC`;

/** Lets `purchase` happen and returns the lines that tell it; throws when the money did not move as it should. */
export async function payAndCheck({ chain, payer, signer, purchase }) {
  const { balances, placeOf, fee } = await import(isSolana(chain.world.network) ? './solana.mjs' : './evm.mjs');
  const before = await balances(chain, { payer, signer });
  const { status, payment, body, milliseconds } = await purchase();
  if (status !== 200 || !payment?.success) {
    const reason = payment?.errorReason ?? JSON.stringify(body);
    throw new Error(`The payment failed with status ${status}: ${reason} ${payment?.errorMessage ?? ''}`.trimEnd());
  }
  const place = await placeOf(chain, payment.transaction);
  if (!place) throw new Error(`Transaction ${payment.transaction} is not on the chain.`);

  const after = await balances(chain, { payer, signer });
  if (before.payerUsdc - after.payerUsdc !== PRICE || after.merchantUsdc - before.merchantUsdc !== PRICE) {
    throw new Error(`Transaction ${payment.transaction} did not move exactly ${usdc(PRICE)} from payer to merchant.`);
  }
  return [
    ['transaction', `${payment.transaction}, ${place}`],
    ['payer', `${payer}  ${usdc(before.payerUsdc)} → ${usdc(after.payerUsdc)}`],
    ['merchant', `${chain.world.merchant}  ${usdc(before.merchantUsdc)} → ${usdc(after.merchantUsdc)}`],
    ['signer', `${signer}  paid ${fee(before.signerCoins - after.signerCoins)}`],
    ['answer', `${body.output.summary}`],
    ['took', `${(milliseconds / 1000).toFixed(2)} s from request to paid answer`],
  ];
}
