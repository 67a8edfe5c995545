// What the demo looks at on Solana.

import { tokenBalance } from '../solana/rpc.mjs';
import { ataOf } from '../solana/tokens.mjs';

/** What payer and merchant hold of a token, and the signer in lamports. */
export async function balances({ rpc, world }, { payer, signer, token }) {
  const mint = world.mints[token];
  const [ofPayer, ofMerchant, { value }] = await Promise.all([
    tokenBalance(rpc, await ataOf(mint, payer)),
    tokenBalance(rpc, mint.merchantAta),
    rpc.call('getBalance', [signer, { commitment: 'confirmed' }]),
  ]);
  return { ofPayer, ofMerchant, signerCoins: BigInt(value) };
}

/** Where the transaction stands, or nothing if it did not succeed. */
export async function placeOf({ rpc }, transaction) {
  const [status] = (await rpc.call('getSignatureStatuses', [[transaction]])).value;
  return status && !status.err ? `slot ${status.slot}, ${status.confirmationStatus}` : null;
}

export const fee = (coins) => `a fee of ${coins} lamports`;
