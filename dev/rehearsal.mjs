// How a rehearsal begins and ends: what it started is stopped in the opposite order, and the logs of one that went wrong are kept.

import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ROOT } from '../tests/deploy/prometheus.mjs';
import { closeWhenAsked } from './lifetime.mjs';

/** Whoever pays, and what stands between the service and its network, may be in this process, which must go on meanwhile. */
const run = promisify(execFile);

/** Has scripts/postgres.sh do something with the server in a directory, and returns what it prints. */
export const postgres = async (action, directory) => (await run(join(ROOT, 'scripts/postgres.sh'), [action, directory])).stdout.trim();

/**
 * Plays one and ends the process: `play` is given `add`, through which it starts what is to be stopped, and a `directory` and one for a
 * `server`, which are new. It fails by throwing.
 */
export async function rehearse(name, play) {
  const [directory, server] = [`quittance-${name}-`, 'pg'].map((place) => mkdtempSync(join(tmpdir(), place)));
  const started = [];
  const add = async (starting) => {
    started.push(await starting);
    return started.at(-1);
  };
  const stop = async () => {
    while (started.length) {
      const last = started.pop();
      // What does not stop keeps nothing else from it, and may be what went wrong.
      await Promise.resolve().then(() => last.stop()).catch((error) => console.error(error.message));
    }
    rmSync(server, { recursive: true, force: true });
    if (process.exitCode === 0) rmSync(directory, { recursive: true, force: true });
    else console.error(`the logs are in ${directory}`);
  };
  closeWhenAsked(stop);
  process.exitCode = 1;
  try {
    await play({ add, directory, server });
    process.exitCode = 0;
  } catch (error) {
    console.error(error.message);
  }
  await stop();
  // Whoever asked may wait for an answer still.
  process.exit();
}
