// Why the two disagree.

/** `what` the payments have in common, who says what about them, and why. A `fault` is the name of one in faults.mjs. */
export const KNOWN = [];

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
  // Of two faults each facilitator tells one, as it does where that is the only one.
  const alone = one.faults.map((fault) => singles.find(({ kind, faults: [only] }) => kind === one.kind && only === fault));
  const told = (verdict, by) => alone.some((single) => single[by] === verdict);
  if (told(one.own, 'own') && told(one.reference, 'reference')) {
    const either = alone.map((single) => KNOWN.find((known) => concerns(known, single))).find(Boolean);
    const accepts = one.own === 'valid' || one.reference === 'valid';
    return accepts ? either : ORDER;
  }
  return undefined;
}
