// Has every alarm go off that dev/night.mjs does not wait for: each for the reason it is there for, in the real service on local chains, and
// as a real Prometheus sees it. Then the cause is taken away, and it must clear: node dev/alarms.mjs. The binary is QUITTANCE_BIN.
//
// --write puts what came of it into docs/RELIABILITY.md, and --only NUMBERS plays these stages (1,3). Every time in the alerts, and every age
// that they allow, is divided by HURRY, but none becomes shorter than some scrapes take. Nothing else is changed in them.

import { parseArgs } from 'node:util';
import { stages } from './alarms/acts.mjs';
import { startWorld } from './alarms/world.mjs';
import { firing, until } from './night/alerts.mjs';
import { writeBetween } from './night/page.mjs';
import { rehearse } from './rehearsal.mjs';

/** A minute is a second. */
const HURRY = 60;
const DEADLINE_MS = 240_000;
const { values: OPTIONS } = parseArgs({ options: { write: { type: 'boolean' }, only: { type: 'string' } } });

const seconds = (milliseconds) => Math.round(milliseconds / 1_000);

/** Notes for each of `alerts` when it is first as wanted, in seconds, until all are. */
async function times(prometheus, alerts, isWanted) {
  const [began, noted] = [Date.now(), {}];
  const missing = () => alerts.filter((alert) => !(alert in noted));
  const look = async () => {
    const now = await firing(prometheus);
    for (const alert of missing()) if (isWanted(now, alert)) noted[alert] = seconds(Date.now() - began);
    return missing().length === 0;
  };
  await until(look, DEADLINE_MS, () => `${missing().join(', ')} did not change`).catch((error) => (noted.error = error.message));
  return noted;
}

async function play(prometheus, act, rows) {
  const alerts = act.alerts.map((alert) => `Quittance${alert}`);
  const fires = (now, alert) => now.has(alert);
  const clear = (now, alert) => !now.has(alert);
  const before = await times(prometheus, alerts, clear);
  if (before.error) throw new Error(`${act.what}: before it begins, ${before.error}`);
  const end = await act.begin();
  const fired = await times(prometheus, alerts, fires);
  await end();
  const cleared = await times(prometheus, alerts, clear);
  for (const alert of alerts) {
    rows.push({ alert, what: act.what, fired: fired[alert], cleared: cleared[alert] });
    console.log(`${alert}: ${act.what}: fired after ${fired[alert]} s, cleared ${cleared[alert]} s after the end`);
  }
}

async function playAll(prometheus, all, rows) {
  const failures = [];
  const one = async (acts) => {
    for (const act of [acts].flat()) {
      await play(prometheus, act, rows).catch((error) => (console.error(`${act.what}:`, error), failures.push(act.what)));
    }
  };
  for (const stage of all) await Promise.all(stage.map(one));
  return failures;
}

function write(rows) {
  const said = (time) => (time === undefined ? '**never**' : `${time} s`);
  const table = rows.map(({ alert, what, fired, cleared }) => `| ${alert} | ${what} | ${said(fired)} | ${said(cleared)} |`);
  writeBetween('alarms', [
    `Measured on ${new Date().toISOString().slice(0, 10)}: every time in the alerts divided by ${HURRY}.`,
    '',
    '| alert | cause | fires after | clear after the end |',
    '|---|---|---|---|',
    ...table,
  ]);
}

async function alarms(places) {
  const world = await startWorld({ ...places, binary: process.env.QUITTANCE_BIN, hurry: HURRY });
  const wanted = OPTIONS.only?.split(',').map(Number);
  const all = stages(world).filter((_, place) => !wanted || wanted.includes(place + 1));
  // The world begins with a provider that does not answer, which is the first stage.
  if (wanted && !wanted.includes(1)) world.node.mood = 'well';
  const rows = [];
  const failures = await playAll(world.prometheus, all, rows);
  const never = rows.filter(({ fired, cleared }) => fired === undefined || cleared === undefined).map(({ alert }) => alert);
  // A table that lacks rows would say that the others are not looked at.
  if (OPTIONS.write && !wanted && failures.length === 0) write(rows);
  if (failures.length + never.length > 0) throw new Error(`not as it should be: ${[...failures, ...never].join('; ')}`);
  console.log(`${rows.length} alerts fired and cleared`);
}

await rehearse('alarms', alarms);
