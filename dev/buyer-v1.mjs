// A demo buyer that pays by x402 version 1, with the x402-fetch client that older programs still use.
//
//   node dev/buyer-v1.mjs [--url http://127.0.0.1:4403/v1/inference] [--network base-sepolia] [--key 0x…] [--text "…"]
//   node dev/buyer-v1.mjs --network solana-devnet --rpc http://127.0.0.1:8899 [--key base58]

import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createSigner, decodeXPaymentResponse, wrapFetchWithPayment } from 'x402-fetch';
import { fail, report } from './lifetime.mjs';
import { purchase } from './purchase.mjs';
import { rolesOf } from './roles.mjs';

/**
 * Buys one inference with the account of `key`; version 1 knows networks by names such as `base-sepolia`. On Solana `rpc` is a
 * node that knows the token and the newest block.
 */
export async function buyV1({ url, network, key, rpc, text }) {
  const signer = await createSigner(network, key);
  const config = { svmConfig: { rpcUrl: rpc } };
  return purchase({
    fetchAndPay: wrapFetchWithPayment(fetch, signer, undefined, undefined, config),
    url,
    text,
    payer: signer.address ?? signer.account.address,
    header: 'X-PAYMENT-RESPONSE',
    decode: decodeXPaymentResponse,
  });
}

async function main() {
  const { values } = parseArgs({
    options: {
      url: { type: 'string', default: 'http://127.0.0.1:4403/v1/inference' },
      network: { type: 'string', default: 'base-sepolia' },
      key: { type: 'string' },
      rpc: { type: 'string', default: 'http://127.0.0.1:8899' },
      text: { type: 'string' },
    },
  });
  const result = await buyV1({ ...values, key: values.key ?? (await rolesOf(values.network)).buyer.key });
  report(result);
  process.exitCode = result.payment?.success ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main().catch(fail);
