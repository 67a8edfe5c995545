// @faremeter/fetch with @faremeter/payment-evm or @faremeter/payment-solana

import { wrap } from '@faremeter/fetch';
import { USDC } from '../faremeter.mjs';
import { isSolana, order, reportError, reportResponse } from '../program.mjs';

async function evm() {
  const { createLocalWallet } = await import('@faremeter/wallet-evm');
  const { createPaymentHandler } = await import('@faremeter/payment-evm/exact');
  return createPaymentHandler(await createLocalWallet({ id: 84532, name: 'Base Sepolia' }, order.key));
}

async function solana() {
  const { createPaymentHandler } = await import('@faremeter/payment-solana/exact');
  const { createKeyPairSignerFromBytes, getBase58Encoder, partiallySignTransaction } = await import('@solana/kit');
  const { address, keyPair } = await createKeyPairSignerFromBytes(getBase58Encoder().encode(order.key));
  const partiallySign = (transaction) => partiallySignTransaction([keyPair], transaction);
  const wallet = { network: 'devnet', publicKey: address, partiallySignTransaction: partiallySign };
  return createPaymentHandler(wallet, USDC.address, order.rpc);
}

const buy = wrap(fetch, { handlers: [isSolana ? await solana() : await evm()] });
await buy(order.url).then(reportResponse, reportError);
