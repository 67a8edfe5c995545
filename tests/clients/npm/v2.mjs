// What the servers and clients of x402 version 2 share: the schemes of @x402/evm and @x402/svm.

import { HTTPFacilitatorClient, x402ResourceServer } from '@x402/core/server';
import { declareEip2612GasSponsoringExtension } from '@x402/extensions';
import { isSolana, order, sale } from './program.mjs';

/** The facilitator as @x402/core speaks to it. */
export async function resourceServer() {
  const server = new x402ResourceServer(new HTTPFacilitatorClient({ url: sale.facilitator }));
  return server.register(sale.network, await serverScheme());
}

async function serverScheme() {
  if (isSolana) return new (await import('@x402/svm/exact/server')).ExactSvmScheme();
  if (sale.way === 'upto') return new (await import('@x402/evm/upto/server')).UptoEvmScheme();
  return new (await import('@x402/evm/exact/server')).ExactEvmScheme();
}

/** What is charged in the end where the payer signs for more: the price of everything else. */
export const USED = '1000';

/** How the offers of each way of paying differ. Buyers through Permit2 have no gas to let it take their token beforehand. */
const WAYS = {
  exact: {},
  permit2: { accepts: { extra: { assetTransferMethod: 'permit2' } }, extensions: declareEip2612GasSponsoringExtension() },
  upto: { accepts: { scheme: 'upto', price: '$0.005' }, extensions: declareEip2612GasSponsoringExtension() },
};

const { accepts, ...rest } = WAYS[sale.way ?? 'exact'];

export const offer = {
  accepts: { scheme: 'exact', network: sale.network, price: sale.price, payTo: sale.payTo, maxTimeoutSeconds: 60, ...accepts },
  description: 'An answer',
  mimeType: 'application/json',
  ...rest,
};

/** What a wrapped `fetch` or `axios` pays with; networks of version 1 have names without a colon. */
export async function schemes() {
  const { network } = order;
  if (network.includes(':')) return isSolana ? [{ network, client: await svm(2) }] : [{ network, client: await evm(2) }, { network, client: await upto() }];
  return [{ network, client: isSolana ? await svm(1) : await evm(1), x402Version: 1 }];
}

async function evm(version) {
  const { ExactEvmScheme } = await import('@x402/evm/exact/client');
  const { ExactEvmSchemeV1 } = await import('@x402/evm/exact/v1/client');
  const { privateKeyToAccount } = await import('viem/accounts');
  const account = privateKeyToAccount(order.key);
  return version === 1 ? new ExactEvmSchemeV1(account) : new ExactEvmScheme(account, { rpcUrl: order.rpc });
}

async function upto() {
  const { UptoEvmScheme } = await import('@x402/evm/upto/client');
  const { privateKeyToAccount } = await import('viem/accounts');
  return new UptoEvmScheme(privateKeyToAccount(order.key), { rpcUrl: order.rpc });
}

async function svm(version) {
  const { ExactSvmScheme } = await import('@x402/svm/exact/client');
  const { ExactSvmSchemeV1 } = await import('@x402/svm/exact/v1/client');
  const { createKeyPairSignerFromBytes, getBase58Encoder } = await import('@solana/kit');
  const signer = await createKeyPairSignerFromBytes(getBase58Encoder().encode(order.key));
  const config = { rpcUrl: order.rpc };
  return version === 1 ? new ExactSvmSchemeV1(signer, config) : new ExactSvmScheme(signer, config);
}
