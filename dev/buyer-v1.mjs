// A demo buyer that pays by x402 version 1, with the x402-fetch client that older programs still use.
//
//   node dev/buyer-v1.mjs [--url http://127.0.0.1:4403/v1/inference] [--network base-sepolia] [--key 0x…] [--text "…"]

import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { privateKeyToAddress } from 'viem/accounts';
import { createSigner, decodeXPaymentResponse, wrapFetchWithPayment } from 'x402-fetch';
import { roles } from './chain/accounts.mjs';
import { fail, report } from './lifetime.mjs';
import { purchase } from './purchase.mjs';

/** Buys one inference with the account of `key`; version 1 knows networks by names such as `base-sepolia`. */
export async function buyV1({ url, network, key, text }) {
  return purchase({
    fetchAndPay: wrapFetchWithPayment(fetch, await createSigner(network, key)),
    url,
    text,
    payer: privateKeyToAddress(key),
    header: 'X-PAYMENT-RESPONSE',
    decode: decodeXPaymentResponse,
  });
}

async function main() {
  const { values } = parseArgs({
    options: {
      url: { type: 'string', default: 'http://127.0.0.1:4403/v1/inference' },
      network: { type: 'string', default: 'base-sepolia' },
      key: { type: 'string', default: roles().buyer.key },
      text: { type: 'string' },
    },
  });
  const result = await buyV1(values);
  report(result);
  process.exitCode = result.payment?.success ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main().catch(fail);
