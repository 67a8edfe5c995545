// Payments as the real clients build them.

import { ExactSvmScheme } from '@x402/svm/exact/client';
import { ExactSvmSchemeV1 } from '@x402/svm/exact/v1/client';
import { wrapFetchWithPayment } from 'x402-fetch';
import { solanaSigner } from '../solana/accounts.mjs';
import { CHANCE, PAYER } from './terms.mjs';

/** Lets a client build with random numbers that are not random, so that it builds the same at every run. */
async function withoutChance(build) {
  const { getRandomValues } = crypto;
  crypto.getRandomValues = (array) => (array.set(Buffer.from(CHANCE, 'hex')), array);
  try {
    return await build();
  } finally {
    crypto.getRandomValues = getRandomValues;
  }
}

/** The base64 transaction of @x402/svm for terms of version 2. */
export const byClient = (terms, rpcUrl) => byScheme(ExactSvmScheme, 2, terms, rpcUrl);

/** The base64 transaction of @x402/svm for terms of version 1. */
export const byNewClientV1 = (terms, rpcUrl) => byScheme(ExactSvmSchemeV1, 1, terms, rpcUrl);

async function byScheme(Scheme, version, terms, rpcUrl) {
  const client = new Scheme(await solanaSigner(PAYER.key), { rpcUrl });
  const { payload } = await withoutChance(() => client.createPaymentPayload(version, terms));
  return payload.transaction;
}

/** The base64 transaction of the older x402-fetch, caught on its way to a merchant that is not there. */
export async function byClientV1(terms, rpcUrl) {
  let header;
  const merchant = async (_, init) => {
    header = init?.headers?.['X-PAYMENT'];
    return header ? new Response('{}') : new Response(JSON.stringify({ x402Version: 1, accepts: [terms] }), { status: 402 });
  };
  const signer = await solanaSigner(PAYER.key);
  await wrapFetchWithPayment(merchant, signer, undefined, undefined, { svmConfig: { rpcUrl } })('https://api.example.com');
  return JSON.parse(Buffer.from(header, 'base64')).payload.transaction;
}
