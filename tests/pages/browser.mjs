// A browser without a window, as the pages are looked at in: by people with and without scripts, by day and by night.

import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

// Packages are those of dev/.
const require = createRequire(new URL('../../dev/package.json', import.meta.url));
const { chromium } = require('playwright-core');
const AXE = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const PATIENCE_MS = 30_000;
const DESKTOP = { width: 1100, height: 900 };
const TELEPHONE = { width: 390, height: 844 };

/** What the system calls the browser; scripts/setup.sh installs it. */
function program() {
  const found = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
  if (!found) throw new Error('No Chromium here: scripts/setup.sh browser installs it.');
  return process.env.CHROMIUM ?? found;
}

/** Starts it. Screenshots go to `folder`, if one is named. */
export async function startBrowser(folder) {
  const browser = await chromium.launch({ executablePath: program() });

  /** A person with a browser of its own; `complaints` are what its console says of policies and errors. */
  async function visitor({ dark = false, scripts = true, telephone = false } = {}) {
    const context = await browser.newContext({
      colorScheme: dark ? 'dark' : 'light', javaScriptEnabled: scripts, viewport: telephone ? TELEPHONE : DESKTOP, reducedMotion: 'reduce',
    });
    context.setDefaultTimeout(PATIENCE_MS);
    const page = await context.newPage();
    const complaints = [];
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(error.message));
    const photograph = (name) => folder && page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
    return { page, complaints, photograph, judge: () => judge(page), leave: () => context.close() };
  }
  return { visitor, stop: () => browser.close() };
}

/** What axe-core has against a page: rule and places. The policy of our pages lets no page add a script, so it is evaluated by the debugger. */
async function judge(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  return violations.map(({ id, help, nodes }) => `${id}: ${help}\n${nodes.map((node) => `    ${node.html}\n    ${node.failureSummary}`).join('\n')}`);
}
