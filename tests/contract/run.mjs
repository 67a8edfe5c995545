// Runs docs/API.md against the built service on a local chain, and with --strangers also requests that schemathesis makes up from the
// OpenAPI document.
//
//   node tests/contract/run.mjs [--strangers]

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startTry } from '../../dev/try.mjs';
import { openShell, runStep, stepsIn } from './page.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PAGE = 'docs/API.md';

// What the page names in words, because the answer is that of another call on it.
const NAMED_ONLY = ['get /', 'get /settle', 'get /did.json', 'get /openapi.json', 'get /v1/export/transfers.csv', 'get /v1/export/invoices.csv', 'get /assets/icon.svg', 'get /assets/style.css', 'get /assets/follow.js'];

// What people look at in a browser; tests/pages does so.
const isForPeople = (name) => / \/dashboard(\/|$)/.test(name);

/** The operations of the OpenAPI document that the page does not call. */
function uncalled(steps) {
  const { paths } = JSON.parse(readFileSync(`${ROOT}/docs/openapi.json`, 'utf8'));
  const operations = Object.entries(paths).flatMap(([path, item]) => Object.keys(item).filter((name) => name !== 'parameters').map((method) => [method, path]));
  const calls = steps.flatMap(({ script }) => script.split(/\bcurl\b/).slice(1));
  const isCalled = ([method, path]) =>
    calls.some((call) => {
      const url = /\$QUITTANCE(\/[^\s"'?]*)/.exec(call)?.[1] ?? '';
      const verb = /-X (\w+)/.exec(call)?.[1].toLowerCase() ?? (/ -d /.test(call) ? 'post' : 'get');
      return verb === method && new RegExp(`^${path.replace(/\{\w+\}/g, '\\$\\w+')}$`).test(url);
    });
  return operations.filter((operation) => !isCalled(operation)).map((operation) => operation.join(' ')).filter((name) => !NAMED_ONLY.includes(name) && !isForPeople(name));
}

async function runPage({ environment }) {
  const steps = stepsIn(readFileSync(`${ROOT}/${PAGE}`, 'utf8'));
  const missing = uncalled(steps);
  if (missing.length) throw new Error(`${PAGE} does not call ${missing.join(', ')}`);
  const shell = openShell({ cwd: ROOT, environment: { ...process.env, ...environment } });
  let failed = 0;
  for (const step of steps) {
    const faults = await runStep(shell, step);
    if (!faults.length) continue;
    failed += 1;
    console.log(`${PAGE}:${step.line}\n${step.script}${faults.map((fault) => `  ${fault}`).join('\n')}\n`);
  }
  shell.close();
  console.log(`${PAGE}: ${steps.length - failed} passed, ${failed} failed`);
  return failed === 0;
}

/** Resolves to whether a program was content. */
const run = (program, words, environment) =>
  new Promise((resolve, reject) => {
    const child = spawn(program, words, { cwd: ROOT, env: { ...process.env, ...environment }, stdio: 'inherit' });
    child.on('error', reject).on('close', (code) => resolve(code === 0));
  });

const strangers = ({ environment }) =>
  run('schemathesis', ['--config-file', 'tests/contract/schemathesis.toml', 'run', `${environment.QUITTANCE}/openapi.json`], environment);

async function main() {
  const { values } = parseArgs({ options: { strangers: { type: 'boolean' } } });
  const world = await startTry();
  let good = false;
  try {
    good = await runPage(world);
    if (values.strangers) good = (await strangers(world)) && good;
    if (!good) console.error(world.service.lastWords());
  } finally {
    await world.stop();
  }
  process.exitCode = good ? 0 : 1;
}

await main();
