// A real Prometheus, on what compose.yaml gives it.

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../dev/chain/anvil.mjs';
import { endWithUs } from '../../dev/lifetime.mjs';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const CHART = join(ROOT, 'helm/quittance');

/** Starts it, with quicker scrapes and the service at other addresses. */
export async function startPrometheus(...targets) {
  const directory = mkdtempSync(join(tmpdir(), 'quittance-prometheus-'));
  const config = readFileSync(join(ROOT, 'deploy/prometheus.yaml'), 'utf8')
    .replaceAll('15s', '1s')
    .replace('alerts/*.yaml', `${CHART}/alerts/*.yaml`)
    .replace('"quittance:9464"', targets.map((target) => `"${target}"`).join(', '));
  writeFileSync(join(directory, 'prometheus.yaml'), config);
  const port = await freePort(9090);
  const server = spawn(
    'prometheus',
    [`--config.file=${directory}/prometheus.yaml`, `--storage.tsdb.path=${directory}/data`, `--web.listen-address=127.0.0.1:${port}`],
    { stdio: 'ignore' },
  );
  endWithUs(server);
  const exited = new Promise((resolve) => server.once('close', resolve));
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
