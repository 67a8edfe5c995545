// A real Prometheus, on what compose.yaml gives it.

import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../dev/chain/anvil.mjs';
import { endWithUs } from '../../dev/lifetime.mjs';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const CHART = join(ROOT, 'helm/quittance');

const START_DEADLINE_MS = 60_000;

const SECONDS = { s: 1, m: 60, h: 3_600 };

/** Windows are not shortened below this, so that they hold several scrapes. */
const WINDOW_MIN = 10;

/** An alert that compares an age with a number of seconds, which is a wait as well. */
const OF_AGE = /quittance_\w+_seconds\b/;

/** Alerts that wait, and look back, for a fraction of their time. */
export function hurried(rules, hurry) {
  const shorter = (number, unit, least) => `${Math.max(least, Math.round((number * SECONDS[unit]) / hurry))}s`;
  const sooner = (_, days, number) => `> ${Math.max(WINDOW_MIN, Math.round(((days ?? 1) * number) / hurry))}`;
  return rules
    .split(/(?=- alert:)/)
    .map((rule) => (OF_AGE.test(rule) ? rule.replace(/> (?:(\d+) \* )?(\d+)/, sooner) : rule))
    .join('')
    .replaceAll(/for: (\d+)([smh])/g, (_, number, unit) => `for: ${shorter(number, unit, 1)}`)
    .replaceAll(/predict_linear\((.*), (\d+)\)/g, (_, range, ahead) => `predict_linear(${range}, ${Math.round(ahead / hurry)})`)
    .replaceAll(/\[(\d+)([smh])(:\d+[smh])?\]/g, (_, number, unit, step) => `[${shorter(number, unit, WINDOW_MIN)}${step ? ':1s' : ''}]`);
}

/** Starts it, with quicker scrapes and the service at other addresses, and with alerts that wait for a fraction of their time. */
export async function startPrometheus(targets, hurry = 1) {
  const directory = mkdtempSync(join(tmpdir(), 'quittance-prometheus-'));
  mkdirSync(join(directory, 'alerts'));
  for (const file of readdirSync(join(CHART, 'alerts'))) {
    const rules = readFileSync(join(CHART, 'alerts', file), 'utf8');
    writeFileSync(join(directory, 'alerts', file), hurry === 1 ? rules : hurried(rules, hurry));
  }
  const config = readFileSync(join(ROOT, 'deploy/prometheus.yaml'), 'utf8')
    .replaceAll('15s', '1s')
    .replace('alerts/*.yaml', `${directory}/alerts/*.yaml`)
    .replace('"quittance:9464"', targets.map((target) => `"${target}"`).join(', '));
  writeFileSync(join(directory, 'prometheus.yaml'), config);
  const port = await freePort(9090);
  const server = spawn(
    'prometheus',
    [`--config.file=${directory}/prometheus.yaml`, `--storage.tsdb.path=${directory}/data`, `--web.listen-address=127.0.0.1:${port}`],
    { stdio: 'ignore' },
  );
  endWithUs(server);
  let over = false;
  const deadline = Date.now() + START_DEADLINE_MS;
  const exited = new Promise((resolve) => server.once('close', resolve)).then(() => (over = true));
  while (!(await fetch(`http://127.0.0.1:${port}/-/ready`).catch(() => null))?.ok) {
    if (over || Date.now() > deadline) throw new Error('Prometheus does not start');
    await sleep(100);
  }
  const get = async (path) => {
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/${path}`);
    const body = await response.json();
    if (body.status !== 'success') throw new Error(`${path}: ${body.error}`);
    return body.data;
  };
  return {
    rules: async () => (await get('rules')).groups.flatMap((group) => group.rules),
    ask: async (expr) => (await get(`query?query=${encodeURIComponent(expr)}`)).result,
    async stop() {
      server.kill('SIGTERM');
      await exited;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
