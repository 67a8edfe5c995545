// How the programs of this folder end: all of them when asked to by a signal, and those that a test started also when the
// test is gone.

import { fstatSync } from 'node:fs';

/**
 * Runs `close` once and exits on SIGINT or SIGTERM, and with `withParent` also when standard input ends. Only a pipe or
 * a socket counts as a parent: a shell gives its background jobs /dev/null, which has ended from the start.
 */
export function closeWhenAsked(close, { withParent = false } = {}) {
  let closing = false;
  const end = async () => {
    if (closing) return;
    closing = true;
    await close();
    process.exit();
  };
  process.on('SIGINT', end);
  process.on('SIGTERM', end);
  if (withParent && hasParentOnStdin()) {
    process.stdin.on('end', end);
    process.stdin.on('error', end);
    process.stdin.resume();
  }
}

function hasParentOnStdin() {
  try {
    const stdin = fstatSync(0);
    return stdin.isFIFO() || stdin.isSocket();
  } catch {
    return false;
  }
}

/** The last resort against orphans: a child still there when this process exits is ended with it. */
export function endWithUs(child) {
  const end = () => child.kill('SIGTERM');
  process.once('exit', end);
  child.once('close', () => process.off('exit', end));
}

/** Prints one line of JSON, the way these programs report to whoever started them. */
export const report = (value) => console.log(JSON.stringify(value));

/** Ends the program with a message for a person instead of a stack trace. */
export function fail(error) {
  console.error(error.message ?? error);
  process.exit(1);
}
