// A demo buyer that agrees to a price at most and pays for what was used (scheme `upto`), with the official @x402/fetch client.
//
//   node dev/buyer-metered.mjs [--url http://127.0.0.1:8080/v1/generate] [--network eip155:84532] [--rpc http://127.0.0.1:8545] [--key 0x…]
//                              [--prompt "…"] [--max-tokens 40] [--seed 7]

import { decodePaymentResponseHeader, wrapFetchWithPaymentFromConfig } from '@x402/fetch';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { accountOf } from './buyer.mjs';
import { fail, report } from './lifetime.mjs';
import { purchase } from './purchase.mjs';
import { rolesOf } from './roles.mjs';

/** Buys what `order` asks for. The node at `rpc` says whether Permit2 may move the payer's tokens yet. */
export async function buyMetered({ url, network, key, rpc, order }) {
  const { UptoEvmScheme } = await import('@x402/evm/upto/client');
  const signer = await accountOf(network, key);
  const client = new UptoEvmScheme(signer, { rpcUrl: rpc });
  return purchase({
    fetchAndPay: wrapFetchWithPaymentFromConfig(fetch, { schemes: [{ network, client }] }),
    url,
    order,
    payer: signer.address,
    header: 'PAYMENT-RESPONSE',
    decode: decodePaymentResponseHeader,
  });
}

async function main() {
  const { values } = parseArgs({
    options: {
      url: { type: 'string', default: 'http://127.0.0.1:8080/v1/generate' },
      network: { type: 'string', default: 'eip155:84532' },
      rpc: { type: 'string', default: 'http://127.0.0.1:8545' },
      key: { type: 'string' },
      prompt: { type: 'string', default: 'The ferry leaves' },
      'max-tokens': { type: 'string', default: '40' },
      seed: { type: 'string', default: '7' },
    },
  });
  const { url, network, rpc, prompt, seed, 'max-tokens': maxTokens } = values;
  const order = { prompt, maxTokens: Number(maxTokens), seed: Number(seed) };
  const key = values.key ?? (await rolesOf(network)).buyer.key;
  const result = await buyMetered({ url, network, key, rpc, order });
  report(result);
  process.exitCode = result.payment?.success ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main().catch(fail);
