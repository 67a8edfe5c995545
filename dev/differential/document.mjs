// Writes docs/DIFFERENCES.md from what a run found.

import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { KNOWN, ORDER, reasonFor } from './known.mjs';

const DOCUMENT = fileURLToPath(new URL('../../docs/DIFFERENCES.md', import.meta.url));

const line = (cells) => `| ${cells.join(' | ')} |`;
const code = (verdict) => (verdict.includes(' ') ? verdict : `\`${verdict}\``);
const distinct = (list) => [...new Set(list)];

export function writeDocument({ results, singles }) {
  const disagreements = results.filter(({ own, reference }) => own !== reference);
  const rows = KNOWN.map((known) => {
    const mine = disagreements.filter((one) => one.faults.length === 1 && reasonFor(one, singles) === known);
    const verdicts = (by) => distinct(mine.map((one) => code(one[by]))).join(', ');
    return line([known.what, verdicts('own'), verdicts('reference'), known.why]);
  });
  const count = (wanted) => results.filter(wanted).length;
  const pairs = disagreements.filter((one) => reasonFor(one, singles) === ORDER).length;
  writeFileSync(
    DOCUMENT,
    `# Differences from the reference

What \`/verify\` says here and what the facilitator of \`@x402/core\`, \`@x402/evm\` 2.27 says of the same payments on the same local chain, by
EIP-3009 in both versions, through Permit2 with and without \`eip2612GasSponsoring\`, and by scheme \`upto\`. \`make differential\` makes the
payments, asks both, and fails where they disagree without a reason that stands here; \`dev/differential.mjs --write\` writes this page.

${results.length} payments: ${count(({ faults }) => !faults.length)} good ones, ${singles.length} with one fault and ${count(({ faults }) => faults.length === 2)} with two.
${results.length - disagreements.length} times both said the same. ${pairs} of the others have two faults, of which each tells another one first. The rest:

| payment | Quittance | reference | why |
|---|---|---|---|
${rows.join('\n')}
`,
  );
}
