// Does what docs/OPERATIONS.md tells somebody who has nothing: types its commands in an empty directory, pays the invoice at its page in a
// browser, verifies the receipt, and restores backups.
//
//   node tests/install/run.mjs
//
// The service is QUITTANCE_BIN; scripts/setup.sh postgres node browser installs the rest.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../dev/chain/anvil.mjs';
import { connect } from '../../dev/chain/rpc.mjs';
import { closeWhenAsked, endWithUs } from '../../dev/lifetime.mjs';
import { startBrowser } from '../pages/browser.mjs';
import { fault, openTerminal, section, stepsIn } from './page.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PAGE = 'docs/OPERATIONS.md';
// Those that the page says may be others.
const PORTS = [4020, 4021, 9464, 8545];
const ENDS_WITHIN_MS = 60_000;

/** The steps of a section of the page, with ports that are free. */
async function read() {
  const ports = new Map();
  for (const port of PORTS) ports.set(String(port), String(await freePort(port)));
  const page = readFileSync(join(ROOT, PAGE), 'utf8');
  const here = (text) => text?.replace(new RegExp(`\\b(${PORTS.join('|')})\\b`, 'g'), (port) => ports.get(port));
  const steps = (heading) => stepsIn(section(page, heading)).map((step) => ({ ...step, script: here(step.script), output: here(step.output) }));
  const whole = steps('## From nothing to a paid invoice');
  const own = steps('### A database of your own');
  const backup = steps('### Backup');
  // The story is what stands before the variations on it.
  const story = whole.slice(0, whole.length - own.length);
  const external = backup.findIndex(({ script }) => script.includes('$DATABASE_URL'));
  assert.ok(story.length > 10 && own.length && external > 0, `${PAGE} has its commands`);
  const unit = /^```ini\n([\s\S]*?)^```$/m.exec(page)[1];
  return { story, own, backup: { private: backup.slice(0, external), external: backup.slice(external) }, unit, url: here('http://127.0.0.1:4020') };
}

/** A directory that is empty, and programs by the names that the page has for them. */
function prepare() {
  const binary = resolve(process.env.QUITTANCE_BIN ?? assert.fail('QUITTANCE_BIN is not set'));
  const folder = mkdtempSync(join(tmpdir(), 'quittance-install-'));
  chmodSync(folder, 0o711);
  const [programs, empty] = ['bin', 'empty'].map((name) => join(folder, name));
  mkdirSync(programs);
  mkdirSync(empty);
  symlinkSync(binary, join(programs, 'quittance'));
  const { PATH, HOME, LANG } = process.env;
  return { folder, empty, binary, env: { PATH: `${programs}:${PATH}`, HOME, ...(LANG && { LANG }), SOURCE: ROOT } };
}

async function main() {
  const started = [];
  const add = (thing) => (started.push(thing), thing);
  const stop = async () => {
    while (started.length) await started.pop().stop();
  };
  closeWhenAsked(stop);
  process.exitCode = 1;
  try {
    const { story, own, backup, unit, url } = await read();
    const { folder, empty, binary, env } = prepare();
    add({ stop: () => rmSync(folder, { recursive: true, force: true }) });
    const terminal = add(openTerminal({ cwd: empty, env, folder }));
    const browser = add(await startBrowser());
    let directory = empty;
    let service;

    /** Runs a program in a terminal of its own, which has no variables of the first one, until somebody presses Ctrl-C. */
    function inOwnTerminal({ line, script }, more = {}) {
      const child = spawn('bash', ['--noprofile', '--norc', '-c', script], { cwd: directory, env: { ...env, ...more }, stdio: ['ignore', 'pipe', 'pipe'] });
      endWithUs(child);
      let words = '';
      for (const stream of ['stdout', 'stderr']) child[stream].setEncoding('utf8').on('data', (text) => (words = (words + text).slice(-4_000)));
      const ended = new Promise((resolve) => child.once('close', (code, signal) => resolve(code ?? signal)));
      return add({
        words: () => words,
        async stop() {
          const place = started.indexOf(this);
          if (place >= 0) started.splice(place, 1);
          child.kill('SIGINT');
          const impatience = setTimeout(() => child.kill('SIGKILL'), ENDS_WITHIN_MS);
          const code = await ended;
          clearTimeout(impatience);
          assert.ok(code === 0 || code === 'SIGINT', `${PAGE}:${line} ended with ${code}: ${words}`);
        },
      });
    }

    async function type(step) {
      const went = await terminal.run(step.script);
      directory = went.directory;
      const wrong = fault(step, went);
      if (wrong) throw new Error(`${PAGE}:${step.line}\n${step.script}\n${wrong}\n${service?.words() ?? ''}`);
      console.log(`ok     ${PAGE}:${step.line}  ${step.script.split('\n')[0]}`);
      return went.text.trim();
    }
    const typed = (script) => type({ line: 0, said: '', script });
    const [serve, ready] = story.slice(story.findIndex(({ script }) => script.startsWith('quittance serve')));
    const serving = async (more) => {
      service = inOwnTerminal(serve, more);
      await type(ready);
    };
    const ending = async () => {
      await service.stop();
      service = undefined;
    };

    /** The person at the page. */
    let visitor;
    async function open(address) {
      visitor = await browser.visitor();
      await visitor.page.goto(address);
      await visitor.page.locator('#state', { hasText: 'Waiting for payment' }).waitFor();
      return visitor.page.locator('a.button', { hasText: 'Open in a wallet' }).getAttribute('href');
    }
    async function seePaid() {
      await visitor.page.locator('#state', { hasText: 'Paid' }).waitFor();
      const receipt = await visitor.page.locator('article', { hasText: 'rct_' }).locator('a', { hasText: 'rct_' }).textContent();
      await visitor.page.getByText('How to get the signed receipt, and verify it').waitFor();
      assert.deepEqual(visitor.complaints, []);
      await visitor.leave();
      return receipt;
    }

    let said = '';
    let receipt;
    for (const step of story) {
      if (step === serve) service = inOwnTerminal(step);
      else if (step.own) {
        inOwnTerminal(step);
        await until('a chain', () => connect(`http://127.0.0.1:${/--port (\d+)/.exec(step.script)[1]}`).call('eth_chainId'));
      } else {
        const pays = step.script.includes('$LINK');
        if (pays) terminal.set('LINK', await open(/^http\S+\/i\/inv_\w+$/m.exec(said)[0]));
        said = await type(step);
        if (pays) receipt = await seePaid();
      }
    }
    assert.equal(JSON.parse(said).receiptId, receipt, 'the receipt is the one that the page names');
    const [dump, ...restoration] = backup.private;
    await type(dump);
    await ending();
    await type(story.at(-1));
    console.log('ok     the receipt is verified without the service');

    terminal.set('AS', process.getuid() === 0 ? `runuser -u ${databaseUser(directory)} --` : '');
    /** Starts the service on a ledger that knows that it is a copy, and returns the block up to which that matters. */
    const blockOfCopy = async (more) => {
      await serving(more);
      const block = await until('a copy that has caught up', async () => {
        const said = await typed('quittance network list --config quittance.toml');
        return /the ledger is a copy that was restored: what stands in blocks up to (\d+)/.exec(said)?.[1];
      });
      await ending();
      return Number(block);
    };
    const known = async () => assert.equal((await (await fetch(`${url}/v1/receipts/${receipt}/status`)).json()).id, receipt);
    const [restore, copy, putBack] = restoration;
    await type(restore);
    await serving();
    await known();
    assert.match(await typed('curl -s $QUITTANCE/v1/invoices/$INVOICE -H "Authorization: Bearer $KEY" | member status'), /^(paid|final)$/);
    await ending();
    const before = await blockOfCopy();
    await type(copy);
    await type(putBack);
    assert.ok((await blockOfCopy()) > before, 'it is a copy once more');

    const server = join(folder, 'server');
    const database = execFileSync(join(ROOT, 'scripts/postgres.sh'), ['start', server], { encoding: 'utf8' }).trim();
    add({ stop: () => execFileSync(join(ROOT, 'scripts/postgres.sh'), ['stop', server]) });
    const [first, second] = ['quittance', 'restored'].map((name) => database.replace('/postgres?', `/${name}?`));
    for (const name of ['quittance', 'restored']) await typed(`createdb --maintenance-db '${database}' ${name}`);
    terminal.set('DATABASE_URL', first);
    terminal.set('RESTORED_URL', second);
    for (const step of own) await type(step);
    const more = { QUITTANCE_RECEIPTS__KEYS_FILE: 'receipt-keys.json' };
    await serving({ ...more, QUITTANCE_DATABASE__URL: first });
    const account = /acc_\w+/.exec(await typed('quittance account create "Another shop" --config quittance.toml'))[0];
    const [dumpExternal, restoreExternal] = backup.external;
    await type(dumpExternal);
    await ending();
    await type(restoreExternal);
    assert.match(await typed(`quittance api-key list ${account} --config quittance.toml`), /provider/);
    await blockOfCopy({ ...more, QUITTANCE_DATABASE__URL: second });

    judgeUnit(unit, folder, binary);
    process.exitCode = 0;
  } catch (error) {
    console.error(`FAILED ${error.stack}`);
  } finally {
    await stop();
  }
}

/** Who owns the files of the private database. */
const databaseUser = (directory) => execFileSync('id', ['-un', String(statSync(join(directory, 'data/postgres')).uid)], { encoding: 'utf8' }).trim();

async function until(what, happens) {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const happened = await happens().catch(() => null);
    if (happened) return happened;
    if (Date.now() > deadline) throw new Error(`There is not ${what}.`);
    await sleep(200);
  }
}

/** What systemd says of the unit, where there is one; the binary is somewhere else here. */
function judgeUnit(unit, folder, binary) {
  if (!existsSync('/usr/bin/systemd-analyze')) return;
  const file = join(folder, 'quittance.service');
  writeFileSync(file, unit.replaceAll('/usr/local/bin/quittance', binary));
  const said = execFileSync('systemd-analyze', ['verify', '--man=no', '--recursive-errors=no', file], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  assert.equal(said.trim(), '');
  console.log('ok     systemd knows every line of the unit');
}

await main();
