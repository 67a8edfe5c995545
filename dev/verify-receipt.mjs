// Verifies a receipt with other people's code: jose for the JWS, viem for typed data. Nothing here is shared with the service. Run
// `node dev/verify-receipt.mjs JWKS RECEIPT` with two files. Prints who signed it and what it says, or fails with the reason.

import { readFileSync } from 'node:fs';
import { compactVerify, createLocalJWKSet } from 'jose';
import { recoverTypedDataAddress } from 'viem';
import { fail, report } from './lifetime.mjs';

const DOMAIN = { name: 'quittance receipt', version: '1', chainId: 1 };
const RECEIPT = [
  ['uint256', 'version'], ['string', 'issuer'], ['string', 'receiptId'], ['uint256', 'revision'], ['string', 'finality'],
  ['string', 'network'], ['string', 'asset'], ['string', 'transaction'], ['uint256', 'index'], ['string', 'blockHash'],
  ['string', 'payer'], ['string', 'payTo'], ['string', 'amount'], ['string', 'invoice'], ['string', 'paymentId'],
  ['string', 'resourceUrl'], ['string', 'account'], ['uint256', 'issuedAt'],
].map(([type, name]) => ({ type, name }));

async function ofJws(jws, keys) {
  const { payload, protectedHeader } = await compactVerify(jws, createLocalJWKSet(keys), { algorithms: ['EdDSA'] });
  return { signer: protectedHeader.kid, claims: JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload)) };
}

async function ofTypedData({ payload, signature }, keys) {
  const typed = { domain: DOMAIN, types: { Receipt: RECEIPT }, primaryType: 'Receipt', message: payload };
  const signer = await recoverTypedDataAddress({ ...typed, signature });
  if (!keys.keys.some(({ address }) => address === signer)) throw new Error(`${signer} is none of the keys`);
  return { signer, claims: payload };
}

const [jwks, receipt] = process.argv.slice(2).map((file) => readFileSync(file, 'utf8').trim());
try {
  const keys = JSON.parse(jwks);
  report(await (receipt.startsWith('{') ? ofTypedData(JSON.parse(receipt), keys) : ofJws(receipt, keys)));
} catch (error) {
  fail(error);
}
