// A demo buyer that pays by x402 version 2, with the official @x402/fetch client.
//
//   node dev/buyer.mjs [--url http://127.0.0.1:4402/v1/inference] [--network eip155:84532] [--key 0x…] [--text "…"]
//   node dev/buyer.mjs --safe             the demo Safe pays; --safe-address and --key choose another Safe and owner

import { ExactEvmScheme } from '@x402/evm/exact/client';
import { decodePaymentResponseHeader, wrapFetchWithPaymentFromConfig } from '@x402/fetch';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { privateKeyToAccount } from 'viem/accounts';
import { roles } from './chain/accounts.mjs';
import { fail, report } from './lifetime.mjs';
import { purchase } from './purchase.mjs';
import { safeSigner } from './safe-signer.mjs';

/** Buys one inference; `signer` has an address and `signTypedData`. */
export function buy({ url, network, signer, text }) {
  return purchase({
    fetchAndPay: wrapFetchWithPaymentFromConfig(fetch, { schemes: [{ network, client: new ExactEvmScheme(signer) }] }),
    url,
    text,
    payer: signer.address,
    header: 'PAYMENT-RESPONSE',
    decode: decodePaymentResponseHeader,
  });
}

async function main() {
  const { values } = parseArgs({
    options: {
      url: { type: 'string', default: 'http://127.0.0.1:4402/v1/inference' },
      network: { type: 'string', default: 'eip155:84532' },
      key: { type: 'string' },
      safe: { type: 'boolean' },
      'safe-address': { type: 'string' },
      text: { type: 'string' },
    },
  });
  const { url, network, text } = values;
  const signer = values.safe ? await safeWallet(values) : privateKeyToAccount(values.key ?? roles().buyer.key);
  const result = await buy({ url, network, signer, text });
  report(result);
  process.exitCode = result.payment?.success ? 0 : 1;
}

async function safeWallet({ key = roles().safeOwner.key, 'safe-address': address }) {
  const owner = privateKeyToAccount(key);
  const { safesOf } = await import('./chain/safe.mjs');
  return safeSigner(address ?? safesOf(owner.address).deployed.address, owner);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main().catch(fail);
