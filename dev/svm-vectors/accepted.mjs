// The payments that must be accepted: what real clients build, and what else the scheme allows.

import { byClient, byClientV1, byNewClientV1 } from './clients.mjs';
import { guard, memo, payment, readonly, signed } from './craft.mjs';
import { decoded } from './decode.mjs';
import { BLOCKHASH, MEMO, OTHER_SIGNER, PAYER, TOKEN_2022, request, requestV1, requirements, requirementsV1 } from './terms.mjs';

// Written down before this script existed; the client must still build it.
const GOLDEN =
  'AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACa0U9GO1155Eg1MDXGi4InRn6V9ktJs1PtLzjleJdKxPS6GTOA/eNxCpr/GFcNh5c/CFEIf+8vN4IKWsz445sEgAIBBAjtSSjGKNHCxurpAziQWZVhKVknOlxj+TY2wUYUrIc30YE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU7a8bnBYfbWmKRrmweAmkoY2/U8QytqJL8bEIg/zLIpj3j/v6j+jfTMORXJLD7QwIJeLu9vRSRWAEZNIbv6BHJDtELLORIVfxOpM9ATQoLQMrX/7NAaLb8bd5BgjfAC6nAwZGb+UhFzL/7K26csOb57yM5bvF9xJrLEObOkAAAAAFSlNamSkhBk0k6HFg2jh8fDW13bySu4HkH6hAQQVEjQbd9uHXZaGT2cvhRs7reawctIXtX1s3kTqM9YV+/wCpzEkOkozS44c7s0P8ldozF5ymD02/RsLDbpEpnVXU5rkEBQAFAiBOAAAFAAkDAQAAAAAAAAAHBAIEAwEKDBAnAAAAAAAABgYAIDAwMTEyMjMzNDQ1NTY2Nzc4ODk5YWFiYmNjZGRlZWZmAA==';
const GOLDEN_SHA256 = 'wx65RfCRVzCfYXjFTRaisYbNM/IaD87zi/aaPyxm7yY=';

const accepted = (name, body) => ({
  name,
  request: body,
  decoded: decoded(body.paymentPayload.payload.transaction),
  verdict: 'valid',
});

export async function acceptedCases(rpcUrl) {
  const v2 = async (name, terms, transaction) => accepted(name, request(terms, transaction ?? (await byClient(terms, rpcUrl))));
  const v1 = async (name, terms, build) => accepted(name, requestV1(terms, await build(terms, rpcUrl)));
  const golden = await v2('the golden transaction: the merchant fixes memo and blockhash', requirements({ memo: MEMO, recentBlockhash: BLOCKHASH }));
  expectGolden(golden);

  const plain = requirements();
  return [
    golden,
    await v2('the client writes a memo of its own', plain),
    await v2('the merchant asks for a memo', requirements({ memo: 'order 7, größer' })),
    await v2('a token of Token-2022', requirements({ mint: TOKEN_2022 })),
    await v1('version 1, by x402-fetch, which writes no memo and asks the node for the compute units', requirementsV1(), byClientV1),
    await v1('version 1, by @x402/svm, which writes a memo', requirementsV1(), byNewClientV1),
    await v1('version 1, a token of Token-2022', requirementsV1({ mint: TOKEN_2022 }), byNewClientV1),
    await v2('no memo where none is asked for', plain, await signed(await payment({ notes: [] }))),
    await v2('another signer of ours pays the fee', { ...plain, extra: { feePayer: OTHER_SIGNER.address } }, await signed(await payment({}, { feePayer: OTHER_SIGNER }))),
    await v2('a legacy message', plain, await signed(await payment({}, { version: 'legacy' }))),
    await v2('as many instructions as are allowed', plain, await signed(await payment({ notes: [memo(), lamportsGuard(), lamportsGuard(), lamportsGuard()] }))),
  ];
}

// What a wallet adds to protect its owner: AssertAccountInfo, silent, of its lamports, that they are at least none.
const lamportsGuard = () => guard(5, [readonly(PAYER)], 0, 0, ...Buffer.alloc(8), 4);

function expectGolden({ request: { paymentPayload }, decoded: { messageSha256 } }) {
  if (paymentPayload.payload.transaction !== GOLDEN) throw new Error('The client does not build the golden transaction any more.');
  if (messageSha256 !== GOLDEN_SHA256) throw new Error('The golden transaction has another key.');
}
