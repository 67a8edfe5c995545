// What the demo looks at on an EVM chain.

import { formatEther } from 'viem';
import { usdcBalance } from '../chain/usdc.mjs';

/** What payer and merchant hold in USDC, and the signer in wei. */
export async function balances({ rpc, world }, { payer, signer }) {
  const [ofPayer, ofMerchant, signerCoins] = await Promise.all([
    usdcBalance(rpc, world.usdc, payer),
    usdcBalance(rpc, world.usdc, world.merchant),
    rpc.call('eth_getBalance', [signer, 'latest']).then(BigInt),
  ]);
  return { ofPayer, ofMerchant, signerCoins };
}

/** Where the transaction stands, or nothing if it did not succeed. */
export async function placeOf({ rpc }, transaction) {
  const receipt = await rpc.call('eth_getTransactionReceipt', [transaction]);
  return receipt?.status === '0x1' ? `block ${Number(receipt.blockNumber)}` : null;
}

export const fee = (coins) => `${formatEther(coins)} ETH for gas`;
