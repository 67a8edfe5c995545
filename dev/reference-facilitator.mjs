// The TypeScript reference facilitator, put together from @x402/core and @x402/evm as the upstream examples do it. The
// benchmark measures against it, with and without --nonce-manager, and the demo merchant and buyers can be tried with it.
//
//   node dev/reference-facilitator.mjs --rpc http://127.0.0.1:8545 [--network eip155:84532] [--key 0x…] [--port 4022]
//                                      [--polling-interval 100] [--nonce-manager]

import { x402Facilitator } from '@x402/core/facilitator';
import { toFacilitatorEvmSigner } from '@x402/evm';
import { ExactEvmScheme } from '@x402/evm/exact/facilitator';
import { ExactEvmSchemeV1 } from '@x402/evm/exact/v1/facilitator';
import express from 'express';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createWalletClient, defineChain, http, publicActions } from 'viem';
import { nonceManager, privateKeyToAccount } from 'viem/accounts';
import { roles } from './chain/accounts.mjs';
import { chainIdOf, networkOf } from './chain/networks.mjs';
import { closeWhenAsked, fail, report } from './lifetime.mjs';
import { serve } from './server.mjs';

/**
 * How often viem asks whether a transaction is mined, in milliseconds. viem's own choice for Base is 1,000 and for a chain
 * it does not know 4,000, which would count as settlement time; 100 lets the peer answer about when the block is there.
 */
export const POLLING_INTERVAL_MS = 100;

/**
 * Starts the facilitator for `[{ network, rpc }, …]`. Upstream fetches the nonce from the node for every transaction, so
 * settlements that run at the same time take each other's nonce; `manageNonces` counts them in the process instead.
 */
export async function startReferenceFacilitator({
  networks,
  key,
  port = 0,
  pollingInterval = POLLING_INTERVAL_MS,
  manageNonces = false,
}) {
  const facilitator = new x402Facilitator();
  for (const { network, rpc } of networks) {
    const { v1Name } = networkOf(chainIdOf(network));
    const signer = signerFor({ network, rpc, key, pollingInterval, manageNonces });
    facilitator.register(network, new ExactEvmScheme(signer));
    facilitator.registerV1(v1Name, new ExactEvmSchemeV1(signer));
  }
  return serve(application(facilitator), port);
}

function signerFor({ network, rpc, key, pollingInterval, manageNonces }) {
  const chainId = chainIdOf(network);
  const account = privateKeyToAccount(key, manageNonces ? { nonceManager } : {});
  const chain = defineChain({
    id: chainId,
    name: networkOf(chainId).label,
    nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
    rpcUrls: { default: { http: [rpc] } },
  });
  const client = createWalletClient({ account, chain, transport: http(rpc), pollingInterval }).extend(publicActions);
  return toFacilitatorEvmSigner({ ...client, address: account.address });
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
      rpc: { type: 'string', default: 'http://127.0.0.1:8545' },
      network: { type: 'string', default: 'eip155:84532' },
      key: { type: 'string', default: roles().signers[0].key },
      port: { type: 'string', default: '4022' },
      'polling-interval': { type: 'string', default: String(POLLING_INTERVAL_MS) },
      'nonce-manager': { type: 'boolean' },
    },
  });
  const facilitator = await startReferenceFacilitator({
    networks: [{ network: values.network, rpc: values.rpc }],
    key: values.key,
    port: Number(values.port),
    pollingInterval: Number(values['polling-interval']),
    manageNonces: values['nonce-manager'],
  });
  closeWhenAsked(facilitator.stop, { withParent: true });
  report({ url: facilitator.url, network: values.network });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main().catch(fail);
