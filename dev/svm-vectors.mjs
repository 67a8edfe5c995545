// Writes the test vectors of `exact` on Solana into tests/vectors/svm: the same bytes at every run.
//
//   node dev/svm-vectors.mjs [--check]     --check writes nothing and fails if the files are not what would be written

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { fail, report } from './lifetime.mjs';
import { acceptedCases } from './svm-vectors/accepted.mjs';
import { startFixedNode } from './svm-vectors/node.mjs';
import { startPeer } from './svm-vectors/peer.mjs';
import { refusedCases } from './svm-vectors/refused.mjs';

const FOLDER = fileURLToPath(new URL('../tests/vectors/svm/', import.meta.url));

/** The contents of each file. */
async function vectors() {
  const node = await startFixedNode();
  try {
    const peer = await startPeer(node.url);
    const judged = async (cases) => {
      const list = [];
      for (const vector of cases) list.push({ ...vector, reference: await peer.judge(vector.request) });
      return list;
    };
    return {
      'accepted.json': await judged(await acceptedCases(node.url)),
      'refused.json': await judged(await refusedCases()),
    };
  } finally {
    await node.stop();
  }
}

const lines = (cases) => `${JSON.stringify(cases, null, 2)}\n`;

async function main() {
  const { values } = parseArgs({ options: { check: { type: 'boolean' } } });
  const files = Object.entries(await vectors());
  for (const [name, cases] of files) {
    if (!values.check) {
      mkdirSync(FOLDER, { recursive: true });
      writeFileSync(FOLDER + name, lines(cases));
    } else if (readFileSync(FOLDER + name, 'utf8') !== lines(cases)) {
      throw new Error(`tests/vectors/svm/${name} is not what dev/svm-vectors.mjs writes.`);
    }
  }
  report(Object.fromEntries(files.map(([name, cases]) => [name, cases.length])));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main().catch(fail);
