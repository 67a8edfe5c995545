// Payments of each kind, as good ones: what is signed, with which key, and what is sent around it.

import { privateKeyToAccount } from 'viem/accounts';

const AMOUNT = 10_000n;
const SECONDS = 300;

const ADDRESSES = (world) => ({ payTo: world.merchant, asset: world.usdc, token: world.usdc });

const EIP3009 = {
  TransferWithAuthorization: [
    { name: 'from', type: 'address' },
    { name: 'to', type: 'address' },
    { name: 'value', type: 'uint256' },
    { name: 'validAfter', type: 'uint256' },
    { name: 'validBefore', type: 'uint256' },
    { name: 'nonce', type: 'bytes32' },
  ],
};

const PERMITTED = [
  { name: 'token', type: 'address' },
  { name: 'amount', type: 'uint256' },
];

const permit2Types = (witness) => ({
  PermitWitnessTransferFrom: [
    { name: 'permitted', type: 'TokenPermissions' },
    { name: 'spender', type: 'address' },
    { name: 'nonce', type: 'uint256' },
    { name: 'deadline', type: 'uint256' },
    { name: 'witness', type: 'Witness' },
  ],
  TokenPermissions: PERMITTED,
  Witness: witness,
});

const EXACT_WITNESS = [
  { name: 'to', type: 'address' },
  { name: 'validAfter', type: 'uint256' },
];

const UPTO_WITNESS = [EXACT_WITNESS[0], { name: 'facilitator', type: 'address' }, EXACT_WITNESS[1]];

const EIP2612 = {
  Permit: [
    { name: 'owner', type: 'address' },
    { name: 'spender', type: 'address' },
    { name: 'value', type: 'uint256' },
    { name: 'nonce', type: 'uint256' },
    { name: 'deadline', type: 'uint256' },
  ],
};

const usdcDomain = (world) => ({
  name: world.usdcName,
  version: world.usdcVersion,
  chainId: world.chainId,
  verifyingContract: world.usdc,
});

/** What a draft of any kind begins with. `key` signs; whoever `from` is. */
function draft(kind, world, payer, random) {
  const now = Math.floor(Date.now() / 1000);
  const { payTo, asset } = ADDRESSES(world);
  return {
    kind,
    version: kind === 'eip3009-v1' ? 1 : 2,
    key: payer.key,
    from: payer.address,
    to: payTo,
    amount: AMOUNT,
    after: now - 600,
    before: now + SECONDS,
    nonce: random.bytes32(),
    usdc: usdcDomain(world),
    requirements: {
      scheme: kind === 'upto' ? 'upto' : 'exact',
      network: kind === 'eip3009-v1' ? world.v1Network : world.network,
      [kind === 'eip3009-v1' ? 'maxAmountRequired' : 'amount']: String(AMOUNT),
      asset,
      payTo,
      maxTimeoutSeconds: SECONDS,
      extra: { name: world.usdcName, version: world.usdcVersion },
      ...(kind === 'eip3009-v1' && { resource: 'https://shop.example/answer', description: '', mimeType: 'application/json' }),
    },
  };
}

/** The kinds of payments, each with what makes a good draft of it and what signs that. */
export const KINDS = {
  'eip3009-v1': { draft, sign: signEip3009 },
  eip3009: { draft, sign: signEip3009 },
  permit2: { draft: permit2Draft, sign: signPermit2 },
  'permit2-sponsored': { draft: sponsoredDraft, sign: signPermit2 },
  upto: { draft: uptoDraft, sign: signPermit2 },
};

function permit2Draft(kind, world, payer, random) {
  const base = draft(kind, world, payer, random);
  base.requirements.extra.assetTransferMethod = 'permit2';
  return {
    ...base,
    token: world.usdc,
    spender: world.exactPermit2Proxy,
    domain: { name: 'Permit2', chainId: world.chainId, verifyingContract: world.permit2 },
  };
}

function sponsoredDraft(kind, world, payer, random) {
  const base = permit2Draft(kind, world, payer, random);
  return { ...base, sponsoring: { from: base.from, asset: world.usdc, spender: world.permit2, amount: base.amount, nonce: 0n, deadline: base.before } };
}

function uptoDraft(kind, world, payer, random) {
  const facilitator = world.accounts.signers[0].address;
  const base = permit2Draft(kind, world, payer, random);
  base.requirements.extra.facilitatorAddress = facilitator;
  return { ...base, spender: world.uptoPermit2Proxy, facilitator };
}

async function signEip3009(payment) {
  const { key, from, to, amount, after, before, nonce, usdc: domain } = payment;
  const message = { from, to, value: amount, validAfter: BigInt(after), validBefore: BigInt(before), nonce };
  const account = privateKeyToAccount(key);
  const signature = await account.signTypedData({ domain, types: EIP3009, primaryType: 'TransferWithAuthorization', message });
  const authorization = { from, to, value: String(amount), validAfter: String(after), validBefore: String(before), nonce };
  return { payload: { signature, authorization } };
}

async function signPermit2(payment) {
  const { key, from, to, amount, after, before, nonce, token, spender, facilitator, domain, sponsoring } = payment;
  const witness = facilitator ? { to, facilitator, validAfter: BigInt(after) } : { to, validAfter: BigInt(after) };
  const permitted = { token, amount };
  const message = { permitted, spender, nonce: BigInt(nonce), deadline: BigInt(before), witness };
  const types = permit2Types(facilitator ? UPTO_WITNESS : EXACT_WITNESS);
  const account = privateKeyToAccount(key);
  const signature = await account.signTypedData({ domain, types, primaryType: 'PermitWitnessTransferFrom', message });
  const permit2Authorization = {
    from,
    permitted: { token, amount: String(amount) },
    spender,
    nonce: String(BigInt(nonce)),
    deadline: String(before),
    witness: { ...witness, validAfter: String(after) },
  };
  const extensions = sponsoring && { eip2612GasSponsoring: { info: await signSponsoring(payment), schema: {} } };
  return { payload: { signature, permit2Authorization }, extensions };
}

async function signSponsoring({ key, usdc: domain, sponsoring }) {
  const { from, asset, spender, amount, nonce, deadline } = sponsoring;
  const message = { owner: from, spender, value: amount, nonce, deadline: BigInt(deadline) };
  const signature = await privateKeyToAccount(key).signTypedData({ domain, types: EIP2612, primaryType: 'Permit', message });
  return { from, asset, spender, amount: String(amount), nonce: String(nonce), deadline: String(deadline), signature, version: '1' };
}

/** The body of a request to verify a draft. */
export async function body(payment) {
  const { payload, extensions } = await KINDS[payment.kind].sign(payment);
  const { version, requirements } = payment;
  const paid =
    version === 1
      ? { x402Version: 1, scheme: requirements.scheme, network: requirements.network, payload }
      : { x402Version: 2, resource: { url: 'https://shop.example/answer' }, accepted: structuredClone(requirements), payload, ...(extensions && { extensions }) };
  return { x402Version: version, paymentPayload: paid, paymentRequirements: structuredClone(requirements) };
}
