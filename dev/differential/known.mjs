// Why the two disagree.

/** `what` the payments have in common, who says what about them, and why. A `fault` is the name of one in faults.mjs. */
export const KNOWN = [
  {
    what: 'malformed requests: nothing accepted, no payment, payload, requirements, amount or version, an empty payload, an amount with a point',
    faults: ['nothing accepted', 'no payment', 'no payload', 'no requirements', 'no amount', 'no version', 'an empty payload', 'an amount with a point'],
    own: /^(invalid_payload|invalid_payment_requirements|missing_parameters|invalid_x402_version)$/,
    reference: /an exception$/,
    why: 'the reference throws, and its servers answer 500; a malformed request is the caller\'s, and gets a code and 400',
  },
  {
    what: 'what is not offered: an unknown version, scheme or network, a network of the other version',
    faults: ['version 3', 'an unknown scheme', 'an unknown network', 'a network of the other version'],
    reference: /an exception$/,
    why: 'the reference throws where nobody is registered for it; here it is a business answer',
  },
  {
    what: 'a signature, nonce or witness that is missing or has another form',
    faults: ['no signature', 'an empty signature', 'a signature that is no hexadecimal', 'no nonce', 'a nonce of 31 bytes', 'no witness'],
    own: /^invalid_payload$/,
    why: 'a payload of another form is malformed; the reference throws, or finds that nobody signed it',
  },
  {
    what: 'numbers in hexadecimal, with a leading zero, or without quotes',
    faults: [
      'an amount in hexadecimal',
      'an amount that is a number',
      'an amount with a leading zero',
      'a value in hexadecimal',
      'a value that is a number',
      'a value with a leading zero',
      'a nonce in hexadecimal',
    ],
    reference: /^valid$/,
    why: 'one grammar is a number here, so that no two readers of a request see different ones; `BigInt` takes all of them',
  },
  {
    what: 'a recipient whose checksum is wrong',
    faults: ['a recipient with a wrong checksum'],
    why: 'a wrong checksum is a typing error (EIP-55), and money would go there; the reference compares in small letters',
  },
  {
    what: 'a recipient of zeros',
    faults: ['a recipient of zeros'],
    why: 'nobody is ever paid there, whoever signed it',
  },
  {
    what: 'no `maxTimeoutSeconds`',
    faults: ['no time to settle'],
    why: 'the protocol demands it, and it bounds for how long a signature may be good',
  },
  {
    what: 'valid for ten years',
    faults: ['valid for ten years'],
    why: 'a signature that stays good for years is worth stealing; it may outlive `maxTimeoutSeconds` by `validity_slack_seconds`',
  },
  {
    what: 'another version outside than in the payment',
    faults: ['another version outside'],
    why: 'two versions in one request are read differently by different readers; the reference does not look at the outer one',
  },
  {
    what: 'version 1 without a signing domain',
    faults: ['no signing domain'],
    kinds: ['eip3009-v1'],
    why: 'servers of version 1 may leave it out; the token\'s own is known here',
  },
  {
    what: 'a signing domain that is not the token\'s',
    faults: ['a signing domain of another name', 'a signing domain of another version'],
    why: 'the token\'s own domain is known here, so it is the requirements that are wrong; the reference finds that nobody signed under theirs',
  },
  {
    what: 'a token that the operator has not allowed',
    faults: ['another token required, without code', 'another token required, a contract'],
    own: /^unsupported_asset$/,
    why: 'tokens are allowed one by one here, and that is looked at first',
  },
  {
    what: 'a signature whose `v` is 0 or 1',
    faults: ['a signature with v of 0 or 1'],
    own: /^valid$/,
    why: 'it is the payer\'s, and the contracts get it with the 27 or 28 that they know',
  },
  {
    what: 'a signature whose `s` is in the upper half',
    faults: ['a signature with a high s'],
    why: 'nobody\'s wallet makes such (EIP-2). USDC refuses it, which the reference learns from the simulation only; Permit2 takes it',
  },
  {
    what: 'a permit that was used before',
    faults: ['used before'],
    kinds: ['permit2', 'upto'],
    own: /^permit2_invalid_nonce$/,
    why: 'Permit2 says that its nonce was used, which is a reason of its own; the reference reads no errors of contracts when it verifies',
  },
  {
    what: 'gas sponsoring for more than the payment',
    faults: ['sponsored for more'],
    why: 'the contract takes that exact amount only, which is known before it is asked',
  },
  {
    what: 'gas sponsoring that the payer did not sign, where Permit2 may take the token already',
    faults: ['sponsored by nobody and without need'],
    why: 'the specification wants the signature checked (EIP-2612); the reference leaves that to the simulation, in which the contract goes on without it',
  },
];

const concerns = ({ faults, kinds, own, reference }, one) =>
  one.faults.length === 1 &&
  faults.includes(one.faults[0].name) &&
  (!kinds || kinds.includes(one.kind)) &&
  (!own || own.test(one.own)) &&
  (!reference || reference.test(one.reference));

/** Two faults in one payment: which of them is told first is nobody's business but the facilitator's. */
export const ORDER = {
  what: 'payments with two faults',
  why: 'each tells the fault that it meets first',
};

/** The entry that explains a disagreement, if there is one. */
export function reasonFor(one, singles) {
  const direct = KNOWN.find((known) => concerns(known, one));
  if (direct || one.faults.length !== 2) return direct;
  const alone = one.faults.map((fault) => singles.find(({ kind, faults: [only] }) => kind === one.kind && only === fault));
  // Where we tell a fault that the reference judges otherwise by itself, the other fault is all that it can tell.
  const judged = alone.filter(({ own }) => own === one.own).map((single) => KNOWN.find((known) => concerns(known, single)));
  const told = (verdict, by) => alone.some((single) => single[by] === verdict);
  const both = told(one.own, 'own') && told(one.reference, 'reference');
  const accepts = one.own === 'valid' || one.reference === 'valid';
  return judged.find(Boolean) ?? (both && !accepts ? ORDER : undefined);
}
