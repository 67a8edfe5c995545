// How a rehearsal begins and ends: what it started is stopped in the opposite order, and the logs of one that went wrong are kept.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../tests/deploy/prometheus.mjs';
import { closeWhenAsked } from './lifetime.mjs';

/** Has scripts/postgres.sh do something with the server in a directory, and returns what it prints. */
export const postgres = (action, directory) =>
  execFileSync(join(ROOT, 'scripts/postgres.sh'), [action, directory], { stdio: ['ignore', 'pipe', 'ignore'] }).toString().trim();

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
    while (started.length) await Promise.resolve(started.pop().stop()).catch(() => {});
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
