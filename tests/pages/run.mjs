// Looks at the pages in a browser, on local chains with real transfers.
//
//   node tests/pages/run.mjs [--only TEXT] [--photographs FOLDER]
//
// The service is QUITTANCE_BIN, or what cargo built; scripts/setup.sh browser installs the browser.

import { mkdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { closeWhenAsked } from '../../dev/lifetime.mjs';
import { startBrowser } from './browser.mjs';
import { DASHBOARD } from './dashboard.mjs';
import { INVOICE } from './invoice.mjs';
import { startWorld } from './world.mjs';

async function main() {
  const { values } = parseArgs({ options: { only: { type: 'string', default: '' }, photographs: { type: 'string' } } });
  const checks = Object.entries({ ...INVOICE, ...DASHBOARD }).filter(([name]) => name.includes(values.only));
  if (values.photographs) mkdirSync(values.photographs, { recursive: true });
  const started = [];
  const stop = async () => {
    while (started.length) await started.pop().stop();
  };
  closeWhenAsked(stop);
  // Whoever interrupts a run has not seen it succeed.
  process.exitCode = 1;
  let failed = 0;
  try {
    const world = await startWorld();
    started.push(world);
    const browser = await startBrowser(values.photographs);
    started.push(browser);
    for (const [name, check] of checks) {
      const begun = performance.now();
      const fault = await check({ ...world, browser }).then(() => null, (error) => error);
      if (fault) failed += 1;
      console.log(`${fault ? 'FAILED' : 'ok    '} ${name}  ${((performance.now() - begun) / 1000).toFixed(1)} s`);
      if (fault) console.log(`${fault.stack}\n${world.service.lastWords()}`);
    }
  } finally {
    await stop();
  }
  console.log(`${checks.length - failed} passed, ${failed} failed`);
  process.exitCode = failed || !checks.length ? 1 : 0;
}

await main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
