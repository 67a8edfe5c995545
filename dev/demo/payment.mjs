// One payment of the demo: balances before, the purchase, balances after, and whether they agree with the price.

import { formatUnits } from 'viem';
import { isSolana } from '../solana/networks.mjs';

const PRICE = 1_000n; // 0.001 USDC, or of a token that has six decimals as well

const SYMBOLS = { usdc: 'USDC', token2022: 'T22' };

/**
 * Lets `purchase` happen and returns the lines that tell it; throws when the money did not move as it should. `token` is the
 * name of the token in the world of the chain.
 */
export async function payAndCheck({ chain, payer, signer, purchase, token = 'usdc' }) {
  const money = (amount) => `${formatUnits(amount, 6)} ${SYMBOLS[token]}`;
  const { balances, placeOf, fee } = await import(isSolana(chain.world.network) ? './solana.mjs' : './evm.mjs');
  const before = await balances(chain, { payer, signer, token });
  const { status, payment, body, milliseconds } = await purchase();
  if (status !== 200 || !payment?.success) {
    const reason = payment?.errorReason ?? JSON.stringify(body);
    throw new Error(`The payment failed with status ${status}: ${reason} ${payment?.errorMessage ?? ''}`.trimEnd());
  }
  const place = await placeOf(chain, payment.transaction);
  if (!place) throw new Error(`Transaction ${payment.transaction} is not on the chain.`);

  const after = await balances(chain, { payer, signer, token });
  if (before.ofPayer - after.ofPayer !== PRICE || after.ofMerchant - before.ofMerchant !== PRICE) {
    throw new Error(`Transaction ${payment.transaction} did not move exactly ${money(PRICE)} from payer to merchant.`);
  }
  return [
    ['transaction', `${payment.transaction}, ${place}`],
    ['payer', `${payer}  ${money(before.ofPayer)} → ${money(after.ofPayer)}`],
    ['merchant', `${chain.world.merchant}  ${money(before.ofMerchant)} → ${money(after.ofMerchant)}`],
    ['signer', `${signer}  paid ${fee(before.signerCoins - after.signerCoins)}`],
    ['answer', `${body.output.summary}`],
    ['took', `${(milliseconds / 1000).toFixed(2)} s from request to paid answer`],
  ];
}
