// Reads a page of calls, and runs them as a reader would: in order, in one shell, copied as they stand.

import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

const PATIENCE_MS = 30_000;
// Members whose words are told exactly as the page has them.
const WORDS = new Set(['status', 'state', 'code', 'errorReason', 'invalidReason', 'finality', 'proof', 'basis', 'type']);

/** The page as steps: `{ line, script, status, answer, text, until, keep }`. */
export function stepsIn(page) {
  const fence = /^```(sh|json|text)\n([\s\S]*?)^```$/gm;
  const steps = [];
  let end = 0;
  for (const match of page.matchAll(fence)) {
    const [whole, language, body] = match;
    const between = page.slice(end, match.index);
    end = match.index + whole.length;
    const line = page.slice(0, match.index).split('\n').length;
    if (language === 'sh') steps.push({ line, script: body });
    else Object.assign(steps.at(-1), language === 'json' ? { answer: JSON.parse(body) } : { text: body }, saidIn(between));
  }
  return steps;
}

/** What is said between a call and its answer. */
function saidIn(text) {
  const status = /`(\d{3})`/.exec(text)?.[1];
  const [, path, value] = /until\s+`([\w.]+)`\s+is\s+(?:`([^`]+)`|there)/.exec(text) ?? [];
  const kept = /Keep [\s\S]*?\./.exec(text.replace(/`[^`]*`/g, (code) => code.replaceAll('.', '\0')))?.[0].replaceAll('\0', '.');
  const keep = [...(kept ?? '').matchAll(/`([\w.]+)`\s+as\s+`([A-Z_]+)`/g)].map(([, from, name]) => [from, name]);
  return { status: status && Number(status), until: path && { path, value }, keep };
}

/** What stands at a path such as `transfers.0.id`. */
const at = (value, path) => path.split('.').reduce((inner, name) => inner?.[name], value);

/** A shell that keeps its variables from one script to the next, and tells the statuses of its calls. */
export function openShell({ cwd, environment }) {
  const shell = spawn('bash', ['--noprofile', '--norc'], { cwd, env: environment });
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr']) shell[stream].setEncoding('utf8').on('data', (text) => (output[stream] += text));
  shell.stdin.write("curl() { command curl --write-out '%{stderr}<%{http_code}>' \"$@\"; }\n");
  let number = 0;

  async function run(script) {
    const mark = `--- end ${++number} ---`;
    Object.assign(output, { stdout: '', stderr: '' });
    shell.stdin.write(`${script}\nprintf '\\n%s\\n' '${mark}'; printf '\\n%s\\n' '${mark}' >&2\n`);
    const deadline = Date.now() + PATIENCE_MS;
    while (!(output.stdout.includes(mark) && output.stderr.includes(mark))) {
      if (Date.now() > deadline || shell.exitCode !== null) throw new Error(`The shell does not answer: ${output.stdout} ${output.stderr}`);
      await sleep(10);
    }
    const said = (text) => text.slice(0, text.indexOf(`\n${mark}`));
    const statuses = [...output.stderr.matchAll(/<(\d{3})>/g)].map(([, status]) => Number(status));
    return { text: said(output.stdout), status: statuses.at(-1), complaints: said(output.stderr).replace(/<\d{3}>/g, '') };
  }
  const set = (name, value) => shell.stdin.write(`${name}=${quoted(value)}\n`);
  return { run, set, close: () => shell.stdin.end() };
}

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** Runs one step, again until it says what the page waits for. Returns what differs. */
export async function runStep(shell, step) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const done = await shell.run(step.script);
    const faults = differences(step, done);
    const isReady = !step.until || arrived(done.text, step.until);
    if (isReady || Date.now() > deadline) {
      if (!faults.length) keepFrom(shell, step, done.text);
      return isReady ? faults : [`${step.until.path} is not ${step.until.value ?? 'there'}: ${done.text}`];
    }
    await sleep(200);
  }
}

function arrived(text, { path, value }) {
  try {
    const found = at(JSON.parse(text), path);
    return value === undefined ? found !== undefined : String(found) === value;
  } catch {
    return false;
  }
}

function keepFrom(shell, { keep = [] }, text) {
  for (const [path, name] of keep) {
    const found = at(JSON.parse(text), path);
    shell.set(name, typeof found === 'string' ? found : JSON.stringify(found));
  }
}

function differences({ status, answer, text }, done) {
  if (status && done.status !== status) return [`status ${done.status} instead of ${status}: ${done.text}`];
  if (answer === undefined && text === undefined) return done.complaints ? [done.complaints] : [];
  if (text !== undefined) return new RegExp(`^${pattern(text.trimEnd())}`).test(done.text.replaceAll('\r\n', '\n')) ? [] : [`another text: ${done.text.slice(0, 2_000)}`];
  try {
    return shapeDifferences(answer, JSON.parse(done.text), '');
  } catch (error) {
    return [`${error.message}: ${done.text}`];
  }
}

const pattern = (text) => text.split('…').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('[\\s\\S]*?');

const kind = (value) => (value === null ? 'null' : Array.isArray(value) ? 'list' : typeof value);

/** Where a value does not look like what is expected: other members, other types, other words. */
function shapeDifferences(expected, actual, path) {
  if (kind(expected) !== kind(actual)) return [`${path || 'the answer'} is ${JSON.stringify(actual)}, not a ${kind(expected)}`];
  if (kind(expected) === 'list') {
    if (!expected.length) return actual.length ? [`${path} is not empty: ${JSON.stringify(actual)}`] : [];
    if (!actual.length) return [`${path} is empty`];
    return actual.flatMap((element, index) => shapeDifferences(expected[index] ?? expected.at(-1), element, `${path}[${index}]`));
  }
  if (kind(expected) !== 'object') {
    const isWord = WORDS.has(path.split('.').at(-1)) && kind(expected) === 'string';
    return isWord && expected !== actual ? [`${path} is ${actual}, not ${expected}`] : [];
  }
  const names = new Set([...Object.keys(expected), ...Object.keys(actual)]);
  return [...names].flatMap((name) => {
    const inner = path ? `${path}.${name}` : name;
    if (!(name in actual)) return [`${inner} is missing`];
    if (!(name in expected)) return [`${inner} is not on the page: ${JSON.stringify(actual[name])}`];
    return shapeDifferences(expected[name], actual[name], inner);
  });
}
