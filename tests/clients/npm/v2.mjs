// What the servers and clients of x402 version 2 share: the schemes of @x402/evm and @x402/svm.

import { HTTPFacilitatorClient, x402ResourceServer } from '@x402/core/server';
import { isSolana, order, sale } from './program.mjs';

/** The facilitator as @x402/core speaks to it. */
export async function resourceServer() {
  const { ExactEvmScheme } = await import('@x402/evm/exact/server');
  const { ExactSvmScheme } = await import('@x402/svm/exact/server');
  const server = new x402ResourceServer(new HTTPFacilitatorClient({ url: sale.facilitator }));
  return server.register(sale.network, isSolana ? new ExactSvmScheme() : new ExactEvmScheme());
}

export const offer = {
  accepts: { scheme: 'exact', network: sale.network, price: sale.price, payTo: sale.payTo, maxTimeoutSeconds: 60 },
  description: 'An answer',
  mimeType: 'application/json',
};

/** What a wrapped `fetch` or `axios` pays with; networks of version 1 have names without a colon. */
export async function schemes() {
  const { network } = order;
  if (network.includes(':')) return [{ network, client: isSolana ? await svm(2) : await evm(2) }];
  return [{ network, client: isSolana ? await svm(1) : await evm(1), x402Version: 1 }];
}

async function evm(version) {
  const { ExactEvmScheme } = await import('@x402/evm/exact/client');
  const { ExactEvmSchemeV1 } = await import('@x402/evm/exact/v1/client');
  const { privateKeyToAccount } = await import('viem/accounts');
  const account = privateKeyToAccount(order.key);
  return version === 1 ? new ExactEvmSchemeV1(account) : new ExactEvmScheme(account);
}

async function svm(version) {
  const { ExactSvmScheme } = await import('@x402/svm/exact/client');
  const { ExactSvmSchemeV1 } = await import('@x402/svm/exact/v1/client');
  const { createKeyPairSignerFromBytes, getBase58Encoder } = await import('@solana/kit');
  const signer = await createKeyPairSignerFromBytes(getBase58Encoder().encode(order.key));
  const config = { rpcUrl: order.rpc };
  return version === 1 ? new ExactSvmSchemeV1(signer, config) : new ExactSvmScheme(signer, config);
}
