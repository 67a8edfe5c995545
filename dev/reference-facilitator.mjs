// The TypeScript reference facilitator, put together from @x402/core, @x402/evm and @x402/svm as the upstream examples do it.
// The benchmark measures against it, with and without --nonce-manager, and the demo merchant and buyers can be tried with it.
//
//   node dev/reference-facilitator.mjs --rpc http://127.0.0.1:8545 [--network eip155:84532] [--key 0x…] [--port 4022]
//                                      [--polling-interval 100] [--nonce-manager]
//
// Several networks, of both families, are given as several --network, --rpc and --key, in the same order.

import { x402Facilitator } from '@x402/core/facilitator';
import express from 'express';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { closeWhenAsked, fail, report } from './lifetime.mjs';
import { rolesOf } from './roles.mjs';
import { serve } from './server.mjs';
import { isSolana, v1NameOf } from './solana/networks.mjs';

/**
 * How often viem asks whether a transaction is mined, in milliseconds. viem's own choice for Base is 1,000 and for a chain
 * it does not know 4,000, which would count as settlement time; 100 lets the peer answer about when the block is there.
 */
export const POLLING_INTERVAL_MS = 100;

/**
 * Starts the facilitator for `[{ network, rpc, key }, …]`; `key` beside them is that of networks without their own.
 *
 * On EVM chains upstream fetches the nonce from the node for every transaction, so settlements that run at the same time take
 * each other's nonce; `manageNonces` counts them in the process instead. On Solana it takes one fee payer and polls every 250 ms.
 */
export async function startReferenceFacilitator({
  networks,
  key,
  port = 0,
  pollingInterval = POLLING_INTERVAL_MS,
  manageNonces = false,
}) {
  const facilitator = new x402Facilitator();
  for (const { network, rpc, key: own = key } of networks) {
    if (isSolana(network)) await registerSolana(facilitator, { network, rpc, key: own });
    else await registerEvm(facilitator, { network, rpc, key: own, pollingInterval, manageNonces });
  }
  return serve(application(facilitator), port);
}

async function registerSolana(facilitator, { network, rpc, key }) {
  const { toFacilitatorSvmSigner } = await import('@x402/svm');
  const { ExactSvmScheme } = await import('@x402/svm/exact/facilitator');
  const { ExactSvmSchemeV1 } = await import('@x402/svm/exact/v1/facilitator');
  const { solanaSigner } = await import('./solana/accounts.mjs');

  const signer = toFacilitatorSvmSigner(await solanaSigner(key), { defaultRpcUrl: rpc });
  facilitator.register(network, new ExactSvmScheme(signer));
  facilitator.registerV1(v1NameOf(network), new ExactSvmSchemeV1(signer));
}

async function registerEvm(facilitator, { network, rpc, key, pollingInterval, manageNonces }) {
  const { toFacilitatorEvmSigner } = await import('@x402/evm');
  const { ExactEvmScheme } = await import('@x402/evm/exact/facilitator');
  const { ExactEvmSchemeV1 } = await import('@x402/evm/exact/v1/facilitator');
  const { UptoEvmScheme } = await import('@x402/evm/upto/facilitator');
  const { createWalletClient, defineChain, http, publicActions } = await import('viem');
  const { nonceManager, privateKeyToAccount } = await import('viem/accounts');
  const { chainIdOf, networkOf } = await import('./chain/networks.mjs');

  const chainId = chainIdOf(network);
  const { label, v1Name } = networkOf(chainId);
  const account = privateKeyToAccount(key, manageNonces ? { nonceManager } : {});
  const chain = defineChain({
    id: chainId,
    name: label,
    nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
    rpcUrls: { default: { http: [rpc] } },
  });
  const client = createWalletClient({ account, chain, transport: http(rpc), pollingInterval }).extend(publicActions);
  const signer = toFacilitatorEvmSigner({ ...client, address: account.address });
  facilitator.register(network, new ExactEvmScheme(signer));
  facilitator.register(network, new UptoEvmScheme(signer));
  facilitator.registerV1(v1Name, new ExactEvmSchemeV1(signer));
}

function application(facilitator) {
  const answer = (work) => async ({ body }, response) => {
    try {
      response.json(await work(body));
    } catch (error) {
      response.status(500).json({ error: error.message });
    }
  };
  return express()
    .use(express.json({ limit: '256kb' }))
    .post('/verify', answer(({ paymentPayload, paymentRequirements }) => facilitator.verify(paymentPayload, paymentRequirements)))
    .post('/settle', answer(({ paymentPayload, paymentRequirements }) => facilitator.settle(paymentPayload, paymentRequirements)))
    .get('/supported', answer(() => facilitator.getSupported()));
}

async function main() {
  const { values } = parseArgs({
    options: {
      rpc: { type: 'string', multiple: true, default: ['http://127.0.0.1:8545'] },
      network: { type: 'string', multiple: true, default: ['eip155:84532'] },
      key: { type: 'string', multiple: true, default: [] },
      port: { type: 'string', default: '4022' },
      'polling-interval': { type: 'string', default: String(POLLING_INTERVAL_MS) },
      'nonce-manager': { type: 'boolean' },
    },
  });
  const { network: names, rpc, key } = values;
  if (rpc.length !== names.length) throw new Error('Every --network needs its --rpc.');
  const networks = await Promise.all(
    names.map(async (network, i) => ({ network, rpc: rpc[i], key: key[i] ?? (await rolesOf(network)).signers[0].key })),
  );
  const facilitator = await startReferenceFacilitator({
    networks,
    port: Number(values.port),
    pollingInterval: Number(values['polling-interval']),
    manageNonces: values['nonce-manager'],
  });
  closeWhenAsked(facilitator.stop, { withParent: true });
  report({ url: facilitator.url, network: names.length === 1 ? names[0] : names });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main().catch(fail);
