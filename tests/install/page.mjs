// The commands of a page, and a terminal in which they are typed as they stand.

import { spawn } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const PATIENCE_MS = 60_000;
const OWN_TERMINAL = /in a terminal of its own/i;

/** A section of a page with all that is below it: from its heading to the next one of its level, or higher. */
export function section(page, heading) {
  const begin = page.indexOf(`\n${heading}\n`) + 1;
  if (!begin) throw new Error(`There is no "${heading}".`);
  const level = heading.indexOf(' ');
  // Comments in commands are no headings.
  const prose = page.replace(/^```[\s\S]*?^```$/gm, (block) => block.replaceAll('#', '-'));
  const end = prose.slice(begin + heading.length).search(new RegExp(`^#{1,${level}} `, 'm'));
  const text = end < 0 ? page.slice(begin) : page.slice(begin, begin + heading.length + end);
  return { text, line: page.slice(0, begin).split('\n').length };
}

/** Its commands in order: `{ line, said, script, own, output }`, where `own` says that a terminal of its own is for it alone. */
export function stepsIn({ text, line }) {
  const steps = [];
  let end = 0;
  for (const match of text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)) {
    const [whole, language, body] = match;
    const said = text.slice(end, match.index).trim();
    end = match.index + whole.length;
    if (language === 'sh') steps.push({ line: line + text.slice(0, match.index).split('\n').length, said, script: body, own: OWN_TERMINAL.test(said) });
    if (language === 'text') steps.at(-1).output = body.trimEnd();
  }
  return steps;
}

const pattern = (text) => text.split('…').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('[\\s\\S]*?');

/** What is wrong with how a step went. */
export function fault({ output, said }, { text, failed }) {
  // A command that is to fail is announced.
  const wanted = /exit code is 1/.test(said);
  if (failed !== wanted) return failed ? `a command failed: ${text}` : `no command failed: ${text}`;
  return output === undefined || new RegExp(`^${pattern(output)}`).test(text.trimStart()) ? null : `it printed ${text}\ninstead of ${output}`;
}

/** A terminal that keeps its variables and its directory from one step to the next. */
export function openTerminal({ cwd, env, folder }) {
  const shell = spawn('bash', ['--noprofile', '--norc'], { cwd, env, stdio: ['pipe', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of ['stdout', 'stderr']) shell[stream].setEncoding('utf8').on('data', (text) => (output += text));
  let number = 0;

  async function run(script) {
    const [mark, file] = [`--- end ${++number}`, join(folder, `step-${number}.sh`)];
    writeFileSync(file, `trap 'failed=yes' ERR\n${script}\ntrap - ERR\n`);
    output = '';
    shell.stdin.write(`failed=no; . ${file} </dev/null; printf '\\n%s %s %s\\n' '${mark}' "$failed" "$PWD"\n`);
    const deadline = Date.now() + PATIENCE_MS;
    const ended = () => new RegExp(`\\n${mark} (yes|no) (.*)\\n`).exec(output);
    while (!ended()) {
      if (Date.now() > deadline || shell.exitCode !== null) throw new Error(`the terminal does not answer: ${output}`);
      await sleep(20);
    }
    // What was written to standard error may come after the mark.
    await sleep(20);
    rmSync(file);
    const [whole, failed, directory] = ended();
    return { text: output.replace(whole, ''), failed: failed === 'yes', directory };
  }
  const set = (name, value) => shell.stdin.write(`${name}='${String(value).replaceAll("'", `'\\''`)}'\n`);
  return { run, set, stop: () => shell.stdin.end() };
}
