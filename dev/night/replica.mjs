// A replica of the service, as a process with a file of its configuration.

import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { endWithUs } from '../lifetime.mjs';

const PATIENCE_MS = 60_000;

async function answers({ operations, probe }) {
  const response = await fetch(`http://${operations}/${probe}`).catch(() => null);
  return response?.ok ?? false;
}

/**
 * A replica with `name`, `roles`, the `file` of its configuration, `operations` (where its probes answer), the `directory` for its log and the
 * `binary`, which may be replaced before a start. It has started when `probe` answers. With `files` the system lets it have no more files open.
 */
export function makeReplica(options) {
  const replica = {
    probe: 'readyz',
    ...options,
    async start() {
      const log = openSync(join(replica.directory, `${replica.name}.log`), 'a');
      const serve = [replica.binary, 'serve', '--config', replica.file, '--roles', replica.roles];
      const [program, ...words] = replica.files ? ['prlimit', `--nofile=${replica.files}:${replica.files}`, ...serve] : serve;
      replica.process = spawn(program, words, { stdio: ['ignore', log, log] });
      closeSync(log);
      endWithUs(replica.process);
      replica.exited = new Promise((resolve) => replica.process.once('close', resolve));
      const deadline = Date.now() + PATIENCE_MS;
      while (!(await answers(replica))) {
        if (Date.now() > deadline) throw new Error(`${replica.name} is not ready after ${PATIENCE_MS / 1_000} s`);
        await sleep(100);
      }
    },
    stop: (signal = 'SIGTERM') => (replica.process?.kill(signal), replica.exited),
  };
  return replica;
}
