// The fixed people, tokens and terms of the test vectors.

import { accountOfSeed, mintAddress } from '../solana/accounts.mjs';
import { solanaNetwork } from '../solana/networks.mjs';
import { TOKEN_2022_PROGRAM, TOKEN_PROGRAM } from '../solana/tokens.mjs';

const seeded = (byte) => accountOfSeed(Buffer.alloc(32, byte));

export const PAYER = seeded(2);
export const FEE_PAYER = seeded(3);
export const PAY_TO = seeded(4);
/** Neither payer nor ours. */
export const STRANGER = seeded(6);
/** A second signer of the facilitator, which is not the fee payer of these payments. */
export const OTHER_SIGNER = seeded(7);

export const { id: NETWORK, v1Name: V1_NETWORK } = solanaNetwork('devnet');
export const USDC = { address: solanaNetwork('devnet').usdc, program: TOKEN_PROGRAM, decimals: 6 };
export const TOKEN_2022 = { address: mintAddress('token-2022'), program: TOKEN_2022_PROGRAM, decimals: 6 };

export const AMOUNT = '10000';
export const BLOCKHASH = 'EkSnNWid2cvwEVnVx9aBqawnmiCNiDgp3gUdkDPTKN1N';
export const MEMO = '00112233445566778899aabbccddeeff';
/** The random numbers that a client is given, and so the memo that it writes of its own accord. */
export const CHANCE = 'c5d1a70b3e9f4826d08b71e64a3f95cc';
/** What the real token program needs for a transfer, compute budget included; version 1 clients ask the node for it. */
export const UNITS_CONSUMED = 405;

const RESOURCE = 'https://api.example.com/premium-data';

/** What a merchant asks for in version 2. */
export const requirements = ({ mint = USDC, ...extra } = {}) => ({
  scheme: 'exact',
  network: NETWORK,
  amount: AMOUNT,
  asset: mint.address,
  payTo: PAY_TO.address,
  maxTimeoutSeconds: 60,
  extra: { feePayer: FEE_PAYER.address, ...extra },
});

/** The same in version 1. */
export const requirementsV1 = ({ mint = USDC, ...extra } = {}) => ({
  scheme: 'exact',
  network: V1_NETWORK,
  maxAmountRequired: AMOUNT,
  resource: RESOURCE,
  description: 'Premium data',
  mimeType: 'application/json',
  payTo: PAY_TO.address,
  maxTimeoutSeconds: 60,
  asset: mint.address,
  extra: { feePayer: FEE_PAYER.address, ...extra },
});

/** A version 2 request as /verify and /settle get it. */
export const request = (terms, transaction) => ({
  x402Version: 2,
  paymentPayload: { x402Version: 2, resource: { url: RESOURCE }, accepted: terms, payload: { transaction } },
  paymentRequirements: terms,
});

/** A version 1 request as /verify and /settle get it. */
export const requestV1 = (terms, transaction) => ({
  x402Version: 1,
  paymentPayload: { x402Version: 1, scheme: terms.scheme, network: terms.network, payload: { transaction } },
  paymentRequirements: terms,
});
