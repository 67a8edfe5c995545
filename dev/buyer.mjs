// A demo buyer that pays by x402 version 2, with the official @x402/fetch client.
//
//   node dev/buyer.mjs [--url http://127.0.0.1:4402/v1/inference] [--network eip155:84532] [--key 0x…] [--text "…"]
//   node dev/buyer.mjs --safe             the demo Safe pays; --safe-address and --key choose another Safe and owner
//   node dev/buyer.mjs --network solana:… --rpc http://127.0.0.1:8899 [--key base58] [--asset MINT]

import { decodePaymentResponseHeader, wrapFetchWithPaymentFromConfig } from '@x402/fetch';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { fail, report } from './lifetime.mjs';
import { purchase } from './purchase.mjs';
import { rolesOf } from './roles.mjs';
import { isSolana } from './solana/networks.mjs';

/**
 * Buys one inference. On EVM chains `signer` has an address and `signTypedData`; on Solana it is a signer of @solana/kit,
 * and `rpc` is a node that knows the token and the newest block. `asset` is a token to pay with that the client does not know.
 */
export async function buy({ url, network, signer, rpc, asset, text }) {
  const client = await schemeOf({ network, signer, rpc });
  // By itself the client pays with the tokens it knows and with no others.
  const spendControls = asset ? { allowedAssets: [{ network, asset }] } : undefined;
  return purchase({
    fetchAndPay: wrapFetchWithPaymentFromConfig(fetch, { schemes: [{ network, client }], spendControls }),
    url,
    text,
    payer: signer.address,
    header: 'PAYMENT-RESPONSE',
    decode: decodePaymentResponseHeader,
  });
}

async function schemeOf({ network, signer, rpc }) {
  if (isSolana(network)) {
    const { ExactSvmScheme } = await import('@x402/svm/exact/client');
    return new ExactSvmScheme(signer, { rpcUrl: rpc });
  }
  const { ExactEvmScheme } = await import('@x402/evm/exact/client');
  return new ExactEvmScheme(signer);
}

async function main() {
  const { values } = parseArgs({
    options: {
      url: { type: 'string', default: 'http://127.0.0.1:4402/v1/inference' },
      network: { type: 'string', default: 'eip155:84532' },
      key: { type: 'string' },
      rpc: { type: 'string', default: 'http://127.0.0.1:8899' },
      asset: { type: 'string' },
      safe: { type: 'boolean' },
      'safe-address': { type: 'string' },
      text: { type: 'string' },
    },
  });
  const { url, network, rpc, asset, text } = values;
  const result = await buy({ url, network, signer: await signerFor(values), rpc, asset, text });
  report(result);
  process.exitCode = result.payment?.success ? 0 : 1;
}

/** The ordinary account of a key. */
export async function accountOf(network, key) {
  if (isSolana(network)) {
    const { solanaSigner } = await import('./solana/accounts.mjs');
    return solanaSigner(key);
  }
  const { privateKeyToAccount } = await import('viem/accounts');
  return privateKeyToAccount(key);
}

async function signerFor({ network, key, safe, 'safe-address': address }) {
  const roles = await rolesOf(network);
  if (isSolana(network) || !safe) return accountOf(network, key ?? roles.buyer.key);

  const owner = await accountOf(network, key ?? roles.safeOwner.key);
  const { safesOf } = await import('./chain/safe.mjs');
  const { safeSigner } = await import('./safe-signer.mjs');
  return safeSigner(address ?? safesOf(owner.address).deployed.address, owner);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main().catch(fail);
