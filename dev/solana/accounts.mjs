// Who is who on a local Solana node. Every key is the hash of a line that stands here: they are public, and money sent to
// them on a real network is gone within seconds.

import { createKeyPairSignerFromBytes, getBase58Decoder, getBase58Encoder } from '@solana/kit';
import { createHash, createPrivateKey, createPublicKey } from 'node:crypto';

// What DER puts before the 32 bytes of an Ed25519 key.
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

const base58 = (bytes) => getBase58Decoder().decode(bytes);

/** The account of a 32 byte seed; its key is written the way wallets export it: seed and public key together in base58. */
export function accountOfSeed(seed) {
  const key = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' });
  const publicKey = Buffer.from(createPublicKey(key).export({ format: 'jwk' }).x, 'base64url');
  return { address: base58(publicKey), key: base58(Buffer.concat([seed, publicKey])) };
}

const account = (name) => accountOfSeed(createHash('sha256').update(`Quittance test key: ${name}`).digest());

/** The accounts with a part to play. Only the two signers own SOL. */
export function solanaRoles() {
  return {
    signers: [account('signer 0'), account('signer 1')],
    merchant: account('merchant'),
    // This one has no token account, so no payment to it can succeed until somebody makes one.
    merchantWithoutAta: account('merchant without token account'),
    buyer: account('buyer'),
    mintAuthority: account('mint authority'),
  };
}

/** Payers own tokens and no SOL: whoever pays fees for them is caught. */
export function solanaPayers(count) {
  return Array.from({ length: count }, (_, i) => account(`payer ${i}`));
}

/** Where the mints stand that no real network has. */
export const mintAddress = (name) => account(`mint ${name}`).address;

/** What @solana/kit signs with. */
export const solanaSigner = (key) => createKeyPairSignerFromBytes(getBase58Encoder().encode(key));
