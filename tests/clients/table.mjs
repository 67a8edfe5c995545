// Writes docs/CLIENTS.md from what a run found.

import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const DOCUMENT = fileURLToPath(new URL('../../docs/CLIENTS.md', import.meta.url));
const PRICE = 1_000n;
const FAMILIES = { evm: 'EVM', solana: 'Solana' };
const WAYS = { exact: '', permit2: ', Permit2', upto: ', `upto`' };

const line = (cells) => `| ${cells.join(' | ')} |`;
const table = (head, rows) => [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
const named = ({ name, version }) => `${name} ${version}`;

/** Rows of one server, client, version of x402 and way of paying together. */
function grouped(rows) {
  const groups = new Map();
  for (const row of rows) {
    const { stand, client } = row;
    const key = [named(stand.server), named(client), stand.x402, stand.way].join();
    if (!groups.has(key)) groups.set(key, { stand, client, rows: [] });
    groups.get(key).rows.push(row);
  }
  return [...groups.values()];
}

/** Numbers the reasons in the order in which they are met. */
function footnotes() {
  const used = [];
  return {
    mark(row) {
      if (!row.known) return '';
      if (!used.includes(row.known)) used.push(row.known);
      return ` [${used.indexOf(row.known) + 1}]`;
    },
    text: () => used.map(({ party, why }, index) => `${index + 1}. ${party}: ${why}.`).join('\n'),
  };
}

function purchases(rows, notes) {
  const cell = ({ stand, client, rows: mine }, family) => {
    const row = mine.find((one) => one.family === family);
    if (row) return (row.faults.length ? 'fails' : 'pays') + notes.mark(row);
    return (client.families ?? stand.families).includes(family) && stand.families.includes(family) ? 'not run' : '';
  };
  return table(
    ['language', 'resource server', 'client', 'x402', ...Object.values(FAMILIES)],
    grouped(rows.filter(({ answer }) => !answer)).map((group) => {
      const { stand, client } = group;
      return [stand.language, named(stand.server), named(client), `v${stand.x402}${WAYS[stand.way]}`, ...Object.keys(FAMILIES).map((family) => cell(group, family))];
    }),
  );
}

/** What the buyer got, and whether it cost something. */
function outcome({ answer, bought }) {
  if (!bought) return 'fails';
  const { calls, served, spent, status } = bought;
  if (answer.verify && !calls.some(({ path }) => path === '/verify')) return 'not asked';
  if (served) return 'served';
  const paid = spent === 0n ? '' : spent === PRICE ? ', paid' : `, paid ${spent / PRICE} times`;
  return `${status ?? 'error'}${paid}`;
}

function altered(rows, answers, notes) {
  const groups = grouped(rows.filter(({ answer }) => answer));
  return table(
    ['resource server', 'client', 'x402', ...answers.map(({ name }) => name)],
    groups.map(({ stand, client, rows: mine }) => {
      const cells = answers.map(({ name }) => {
        const row = mine.find(({ answer }) => answer.name === name);
        return row ? outcome(row) + notes.mark(row) : '';
      });
      return [named(stand.server), named(client), `v${stand.x402}`, ...cells];
    }),
  );
}

export function writeDocument({ rows, answers, seen, notRun }) {
  const notes = footnotes();
  const text = `# Clients

Other people's clients and resource servers, unmodified, that were run against Quittance on local chains. \`make test-clients\` runs them
all, and \`tests/clients/run.mjs --write\` writes this page from what it found, on ${new Date().toISOString().slice(0, 10)} the last time.

Beside these, @x402/express and @x402/fetch do business with the extensions \`payment-identifier\`, \`builder-code\` and \`offer-receipt\` of
@x402/extensions (\`tests/clients/npm/with-extensions.mjs\`); \`bazaar\` is looked through by \`dev/discover.mjs\` and the tests.

## Purchases

Each client buys once. It must get what is sold, the payer must have spent the price and the seller earned it, by the balances on
chain; and the same paid request, sent again, must get nothing and move nothing.

${purchases(rows, notes)}

## Answers that are no success

The resource server asks a proxy in front of the service, which replaces one kind of answer. Nobody may be served unless the answer was
a success, and no buyer may pay twice. "402" is what the buyer got; "paid" means that the money moved although nothing was served, which
is so where the service did settle and its answer was altered.

${altered(rows, answers, notes)}

What the answers are:

${answers.map(({ name, what }) => `- ${name}: ${what}`).join('\n')}

## What is known

${notes.text() || 'Nothing.'}

## Also seen

${seen.map(({ party, what }) => `- ${party}: ${what}.`).join('\n')}

## Not run

${table(['what', 'why'], notRun.map(({ name, why }) => [name, why]))}
`;
  writeFileSync(DOCUMENT, text);
}
