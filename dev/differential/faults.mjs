// What can be wrong with a payment, one thing at a time. `sign` changes what is signed, `send` what is sent afterwards.

const now = () => Math.floor(Date.now() / 1000);
const ELSEWHERE = '0x0707070707070707070707070707070707070707';
const EIP3009 = ['eip3009', 'eip3009-v1'];
const PERMIT2 = ['permit2', 'permit2-sponsored', 'upto'];
const V2 = ['eip3009', ...PERMIT2];

const authorizationOf = ({ paymentPayload: { payload } }) => payload.authorization ?? payload.permit2Authorization;
const amountMember = ({ x402Version }) => (x402Version === 1 ? 'maxAmountRequired' : 'amount');
const flipped = (signature) => signature.slice(0, 20) + (signature[20] === 'a' ? 'b' : 'a') + signature.slice(21);
const withV = (signature, v) => signature.slice(0, -2) + v.toString(16).padStart(2, '0');

const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
function highS(signature) {
  const s = ORDER - BigInt(`0x${signature.slice(66, 130)}`);
  const v = Number(`0x${signature.slice(-2)}`) === 27 ? 28 : 27;
  return withV(`${signature.slice(0, 66)}${s.toString(16).padStart(64, '0')}1b`, v);
}

/** `name`, the `kinds` of payments that it can happen to, and what it does. */
export const FAULTS = [
  // What is signed.
  { name: 'signed for one unit more', sign: (payment) => (payment.amount += 1n) },
  { name: 'signed for one unit less', sign: (payment) => (payment.amount -= 1n) },
  { name: 'signed for nothing', sign: (payment) => (payment.amount = 0n) },
  { name: 'signed for another recipient', sign: (payment) => (payment.to = ELSEWHERE) },
  { name: 'signed by another key', sign: (payment, { stranger }) => (payment.key = stranger.key) },
  { name: 'expired', sign: (payment) => Object.assign(payment, { after: now() - 900, before: now() - 60 }) },
  { name: 'about to expire', sign: (payment) => (payment.before = now() + 3) },
  { name: 'valid for ten years', sign: (payment) => (payment.before = now() + 315_360_000) },
  { name: 'not valid yet', sign: (payment) => Object.assign(payment, { after: now() + 600, before: now() + 900 }) },
  { name: 'used before', sign: (payment, { used }) => Object.assign(payment, { ...used[PERMIT2.includes(payment.kind) ? 'permit2' : 'eip3009'] }) },
  { name: 'of a payer with nothing', sign: (payment, { poor }) => Object.assign(payment, { key: poor.key, from: poor.address }) },
  { name: 'signed for another chain', sign: (payment) => Object.assign(payment, { usdc: { ...payment.usdc, chainId: 1 }, domain: { ...payment.domain, chainId: 1 } }) },
  { name: 'signed under another name', kinds: EIP3009, sign: (payment) => (payment.usdc = { ...payment.usdc, name: 'USD Coin' }) },
  { name: 'signed under another version', kinds: EIP3009, sign: (payment) => (payment.usdc = { ...payment.usdc, version: '1' }) },
  { name: 'signed for another contract', sign: (payment) => Object.assign(payment, { usdc: { ...payment.usdc, verifyingContract: ELSEWHERE }, domain: { ...payment.domain, verifyingContract: ELSEWHERE } }) },
  { name: 'for another spender', kinds: PERMIT2, sign: (payment) => (payment.spender = ELSEWHERE) },
  { name: 'for another token', kinds: PERMIT2, sign: (payment) => (payment.token = ELSEWHERE) },
  { name: 'of a payer who allows nothing', kinds: ['permit2', 'upto'], sign: (payment, { unwilling }) => Object.assign(payment, { key: unwilling.key, from: unwilling.address }) },
  { name: 'for another facilitator', kinds: ['upto'], sign: (payment) => (payment.facilitator = ELSEWHERE) },
  { name: 'sponsored by somebody else', kinds: ['permit2-sponsored'], sign: (payment) => (payment.sponsoring.from = ELSEWHERE) },
  { name: 'sponsored for another token', kinds: ['permit2-sponsored'], sign: (payment) => (payment.sponsoring.asset = ELSEWHERE) },
  { name: 'sponsored for another spender', kinds: ['permit2-sponsored'], sign: (payment) => (payment.sponsoring.spender = ELSEWHERE) },
  { name: 'sponsored until a minute ago', kinds: ['permit2-sponsored'], sign: (payment) => (payment.sponsoring.deadline = now() - 60) },
  { name: 'sponsored for more', kinds: ['permit2-sponsored'], sign: (payment) => (payment.sponsoring.amount += 1n) },
  { name: 'sponsored under a later nonce', kinds: ['permit2-sponsored'], sign: (payment) => (payment.sponsoring.nonce = 9n) },
  {
    name: 'sponsored by nobody and without need',
    kinds: ['permit2-sponsored'],
    sign: (payment, { willing: [{ key, address }] }) => Object.assign(payment, { key, from: address, sponsoring: { ...payment.sponsoring, from: address } }),
    send: ({ paymentPayload: { extensions: { eip2612GasSponsoring: { info } } } }) => (info.signature = flipped(info.signature)),
  },

  // What is sent.
  { name: 'another signature', send: ({ paymentPayload: { payload } }) => (payload.signature = flipped(payload.signature)) },
  { name: 'a signature of 64 bytes', send: ({ paymentPayload: { payload } }) => (payload.signature = payload.signature.slice(0, -2)) },
  { name: 'a signature of 66 bytes', send: ({ paymentPayload: { payload } }) => (payload.signature += '00') },
  { name: 'a signature with v of 0 or 1', send: ({ paymentPayload: { payload } }) => (payload.signature = withV(payload.signature, Number(`0x${payload.signature.slice(-2)}`) === 28 ? 1 : 0)) },
  { name: 'a signature with v of 29', send: ({ paymentPayload: { payload } }) => (payload.signature = withV(payload.signature, 29)) },
  { name: 'a signature with a high s', send: ({ paymentPayload: { payload } }) => (payload.signature = highS(payload.signature)) },
  { name: 'no signature', send: ({ paymentPayload: { payload } }) => delete payload.signature },
  { name: 'an empty signature', send: ({ paymentPayload: { payload } }) => (payload.signature = '0x') },
  { name: 'a signature that is no hexadecimal', send: ({ paymentPayload: { payload } }) => (payload.signature = '0xzz') },
  { name: 'a recipient in small letters', send: (body) => (body.paymentRequirements.payTo = body.paymentRequirements.payTo.toLowerCase()) },
  { name: 'a recipient with a wrong checksum', send: (body) => (body.paymentRequirements.payTo = body.paymentRequirements.payTo.replace(/[a-f]/, (letter) => letter.toUpperCase())) },
  { name: 'a recipient of zeros', send: (body) => (body.paymentRequirements.payTo = `0x${'0'.repeat(40)}`) },
  { name: 'another recipient required', send: (body) => (body.paymentRequirements.payTo = ELSEWHERE) },
  { name: 'more required', send: (body) => (body.paymentRequirements[amountMember(body)] = '10001') },
  { name: 'less required', send: (body) => (body.paymentRequirements[amountMember(body)] = '9999') },
  { name: 'an amount with a leading zero', send: (body) => (body.paymentRequirements[amountMember(body)] = '010000') },
  { name: 'an amount in hexadecimal', send: (body) => (body.paymentRequirements[amountMember(body)] = '0x2710') },
  { name: 'an amount with a point', send: (body) => (body.paymentRequirements[amountMember(body)] = '10000.0') },
  { name: 'an amount that is a number', send: (body) => (body.paymentRequirements[amountMember(body)] = 10000) },
  { name: 'no amount', send: (body) => delete body.paymentRequirements[amountMember(body)] },
  { name: 'another token required, without code', send: (body) => (body.paymentRequirements.asset = ELSEWHERE) },
  { name: 'another token required, a contract', send: (body, { world }) => (body.paymentRequirements.asset = world.multicall3) },
  { name: 'an unknown scheme', send: (body) => (body.paymentRequirements.scheme = 'whatever') },
  { name: 'an unknown network', send: (body) => (body.paymentRequirements.network = body.x402Version === 1 ? 'base' : 'eip155:1') },
  { name: 'a network of the other version', send: (body, { world }) => (body.paymentRequirements.network = body.x402Version === 1 ? world.network : world.v1Network) },
  { name: 'another scheme accepted', send: ({ paymentPayload }) => ((paymentPayload.accepted ?? paymentPayload).scheme = 'whatever') },
  { name: 'another network accepted', send: ({ paymentPayload }) => ((paymentPayload.accepted ?? paymentPayload).network = 'eip155:1') },
  { name: 'another amount accepted', kinds: V2, send: ({ paymentPayload }) => (paymentPayload.accepted.amount = '1') },
  { name: 'nothing accepted', kinds: V2, send: ({ paymentPayload }) => delete paymentPayload.accepted },
  { name: 'a signing domain of another name', kinds: EIP3009, send: (body) => (body.paymentRequirements.extra.name = 'USD Coin') },
  { name: 'a signing domain of another version', kinds: EIP3009, send: (body) => (body.paymentRequirements.extra.version = '1') },
  { name: 'no signing domain', kinds: EIP3009, send: (body) => delete body.paymentRequirements.extra },
  { name: 'a method that the payload contradicts', kinds: V2, send: (body) => (body.paymentRequirements.extra.assetTransferMethod = body.paymentPayload.payload.authorization ? 'permit2' : 'eip3009') },
  { name: 'no time to settle', send: (body) => delete body.paymentRequirements.maxTimeoutSeconds },
  { name: 'version 3', send: (body) => (body.paymentPayload.x402Version = 3) },
  { name: 'no version', send: (body) => delete body.paymentPayload.x402Version },
  { name: 'another version outside', send: (body) => (body.x402Version = 3 - body.x402Version) },
  { name: 'no payload', send: (body) => delete body.paymentPayload.payload },
  { name: 'an empty payload', send: (body) => (body.paymentPayload.payload = {}) },
  { name: 'no payment', send: (body) => delete body.paymentPayload },
  { name: 'no requirements', send: (body) => delete body.paymentRequirements },
  { name: 'unknown members', send: (body) => Object.assign(body.paymentPayload.payload, { hint: 1 }) },
  { name: 'a value that is a number', kinds: EIP3009, send: (body) => (authorizationOf(body).value = 10000) },
  { name: 'a value with a leading zero', kinds: EIP3009, send: (body) => (authorizationOf(body).value = '010000') },
  { name: 'a value in hexadecimal', kinds: EIP3009, send: (body) => (authorizationOf(body).value = '0x2710') },
  { name: 'a nonce of 31 bytes', kinds: EIP3009, send: (body) => (authorizationOf(body).nonce = authorizationOf(body).nonce.slice(0, -2)) },
  { name: 'a nonce in hexadecimal', kinds: PERMIT2, send: (body) => (authorizationOf(body).nonce = `0x${BigInt(authorizationOf(body).nonce).toString(16)}`) },
  { name: 'no nonce', send: (body) => delete authorizationOf(body).nonce },
  { name: 'no witness', kinds: PERMIT2, send: (body) => delete authorizationOf(body).witness },
  { name: 'an extension that lacks a member', kinds: ['permit2-sponsored'], send: ({ paymentPayload: { extensions } }) => delete extensions.eip2612GasSponsoring.info.version },
  { name: 'an extension of another form', kinds: ['permit2-sponsored'], send: ({ paymentPayload: { extensions } }) => (extensions.eip2612GasSponsoring.info.amount = 'all') },
];

/** Two changes of a signature can make a good one again. */
export const mayMeet = (one, other) => one !== other && !(/signature/.test(one.name) && /signature/.test(other.name));

/** Those that can happen to a kind of payment. */
export const faultsOf = (kind) => FAULTS.filter(({ kinds }) => !kinds || kinds.includes(kind));
