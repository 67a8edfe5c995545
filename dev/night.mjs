// A bad night: takes away what the service needs, one thing after the other, while twenty payments are made in a second, and watches who is
// alarmed and when: node dev/night.mjs. The binary is QUITTANCE_BIN.
//
// --write puts the timeline of a whole night into docs/RELIABILITY.md, --only TEXT plays what has that in its name, and --before BINARY begins
// with an older version, which the last act but one replaces. A copy of the database is put back in the last one, when it is ten minutes old.
//
// Alarms wait for minutes, so the night is hurried: every time in the alerts is divided by HURRY, and nothing else is changed in them. In the
// end the chain says of each payment whether what was told of it is true.

import { parseArgs } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { toHex } from 'viem';
import { startChain } from './chain/start.mjs';
import { firing } from './night/alerts.mjs';
import { startNode } from './night/node.mjs';
import { writeBetween } from './night/page.mjs';
import { judge, startPayments } from './night/payments.mjs';
import { startReceiver } from './night/receiver.mjs';
import { startReplicas } from './night/replicas.mjs';
import { postgres, rehearse } from './rehearsal.mjs';
import { startPrometheus } from '../tests/deploy/prometheus.mjs';

const HURRY = 20;
const PER_SECOND = 20;
const DEADLINE_MS = 300_000;
const COPY_AGE_MS = 600_000;
/** Before the first act, so that rates are those of an evening on which all is well. */
const MADE_FIRST = 10 * PER_SECOND;
const { values: OPTIONS } = parseArgs({ options: { write: { type: 'boolean' }, only: { type: 'string', default: '' }, before: { type: 'string' } } });
const DEAR = toHex(500n * 10n ** 9n);

const seconds = (milliseconds) => Math.round(milliseconds / 1_000);

/** What happens in the night. Each thing begins, and ends when its alerts have fired; then they must clear. */
function acts({ chain, node, receiver, replicas, server, restore }) {
  const signer = chain.world.accounts.signers[0].address;
  const every = (milliseconds, action) => {
    const timer = setInterval(() => action().catch(() => {}), milliseconds);
    return () => clearInterval(timer);
  };
  let relax;
  return [
    {
      what: 'The database is restarted',
      alerts: ['QuittanceDatabaseOutOfReach'],
      begin: () => postgres('stop', server),
      end: () => postgres('again', server),
    },
    {
      what: 'The replicas that settle are killed',
      alerts: ['QuittanceLaneMissing', 'QuittanceWatcherMissing', 'QuittanceWorkerMissing'],
      begin: () => replicas.kill(),
      end: () => replicas.revive(),
    },
    {
      what: 'The only provider is out of reach',
      alerts: ['QuittanceHeadStandsStill', 'QuittanceNodeFailing'],
      begin: () => (node.mood = 'away'),
      end: () => (node.mood = 'well'),
    },
    {
      what: 'The signer has no coins left',
      alerts: ['QuittanceSignerShort', 'QuittanceNetworkUnavailable'],
      begin: () => chain.rpc.call('anvil_setBalance', [signer, toHex(10n ** 12n)]),
      end: () => chain.rpc.call('anvil_setBalance', [signer, toHex(10n ** 22n)]),
    },
    {
      what: 'Gas costs fifty thousand times as much',
      alerts: ['QuittanceSettlementsTooDear'],
      begin: () => (relax = every(300, () => chain.rpc.call('anvil_setNextBlockBaseFeePerGas', [DEAR]))),
      end: async () => (relax(), await chain.rpc.call('anvil_setNextBlockBaseFeePerGas', [toHex(10n ** 7n)])),
    },
    {
      what: 'Twelve blocks are replaced',
      alerts: ['QuittanceReorganisationDeep'],
      begin: () => chain.rpc.call('anvil_reorg', [12, []]),
      // The local chain has gone on from the time of the block below, as no other would.
      end: () => chain.rpc.call('evm_setTime', [Math.floor(Date.now() / 1000)]),
    },
    {
      what: 'The provider takes transactions and loses them, so that the nonce is stuck',
      alerts: ['QuittancePaymentsNotLanding'],
      begin: () => (node.mood = 'losing'),
      end: () => (node.mood = 'well'),
    },
    {
      what: 'The receiver of webhooks is down',
      alerts: ['QuittanceWebhooksFailing'],
      begin: () => (receiver.down = true),
      end: () => (receiver.down = false),
    },
    { what: `Every replica is replaced${OPTIONS.before ? ' by the next version' : ''}, one after the other`, alerts: [], begin: () => replicas.roll(), end: () => {} },
    { what: 'The database is lost, and a copy of its files that is at least ten minutes old takes its place', alerts: [], begin: restore, end: () => {} },
  ];
}

/** Waits until what fires is as wanted, and notes in `seen` what fires meanwhile. */
async function until(prometheus, what, seen, wanted) {
  const began = Date.now();
  for (;;) {
    const now = await firing(prometheus);
    now.forEach((alert) => seen.add(alert));
    if (wanted(now)) return seconds(Date.now() - began);
    if (Date.now() - began > DEADLINE_MS) {
      const names = (alerts) => [...alerts].sort().join(', ') || 'nothing';
      throw new Error(`${what}: after ${seconds(DEADLINE_MS)} s there is ${names(now)}, and since it began there was ${names(seen)}`);
    }
    await sleep(500);
  }
}

/** Waits until Prometheus has heard of so many payments, of all replicas together. */
async function untilPaid(prometheus, count) {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const [made] = await prometheus.ask('sum(quittance_payments_included_total)');
    if (Number(made?.value[1]) >= count) return;
    if (Date.now() > deadline) throw new Error(`there are no ${count} payments after ${seconds(DEADLINE_MS)} s`);
    await sleep(500);
  }
}

async function play(prometheus, { what, alerts, begin, end }) {
  const seen = new Set();
  // What fires while it begins is seen, too.
  const looking = setInterval(() => firing(prometheus).then((now) => now.forEach((alert) => seen.add(alert))).catch(() => {}), 500);
  const played = (async () => {
    await begin();
    const fired = await until(prometheus, what, seen, (now) => alerts.every((alert) => now.has(alert))).finally(end);
    return { fired, cleared: await until(prometheus, what, seen, (now) => now.size === 0) };
  })();
  const { fired, cleared } = await played.finally(() => clearInterval(looking));
  const others = [...seen].filter((alert) => !alerts.includes(alert)).sort();
  console.log(`${what}: ${alerts.join(', ') || 'nothing'} after ${fired} s, also ${others.join(', ') || 'nothing'}; cleared ${cleared} s after the end`);
  return { what, alerts, others, fired, cleared };
}

/** Every event that the ledger has at this moment was told: those that wait for a later attempt are asked for now. */
async function untilTold({ url, key, webhook, receiver }) {
  const ask = async (method, path) => {
    const response = await fetch(url + path, { method, headers: { authorization: `Bearer ${key}`, accept: 'application/json' } });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status}`);
    return response.json();
  };
  const events = [];
  for (let after = '0'; after; ) {
    const page = await ask('GET', `/v1/events?after=${after}&limit=100`);
    events.push(...page.events.map(({ data }) => data.event));
    after = page.events.length === 100 ? page.nextCursor : null;
  }
  const missing = () => events.filter((event) => !receiver.heard.has(event));
  const wanted = new Set(missing());
  for (let cursor = ''; cursor !== null; ) {
    const page = await ask('GET', `/v1/webhooks/${webhook}/deliveries?limit=100${cursor && `&cursor=${cursor}`}`);
    const late = page.deliveries.filter(({ event }) => wanted.has(event));
    for (const { id } of late) await ask('POST', `/v1/webhooks/${webhook}/deliveries/${id}/redeliver`);
    cursor = page.nextCursor ?? null;
  }
  const deadline = Date.now() + DEADLINE_MS;
  while (missing().length > 0 && Date.now() < deadline) await sleep(200);
  return { events: events.length, late: wanted.size, untold: missing().length };
}

function write(timeline, { verdict, again, copy, told, age }) {
  const table = timeline.map(
    ({ what, alerts, others, fired, cleared }) => `| ${what} | ${alerts.join(', ') || 'none'} | ${fired} s | ${cleared} s | ${others.join(', ') || 'none'} |`,
  );
  const refused = Object.entries(verdict.refused).map(([reason, count]) => `${count} \`${reason}\``).join(', ') || 'none';
  const lines = [
    `Measured on ${new Date().toISOString().slice(0, 10)}: ${PER_SECOND} payments a second, every time in the alerts divided by ${HURRY}.`,
    '',
    '| what happens | must fire | after | all clear after the end | fired as well |',
    '|---|---|---|---|---|',
    ...table,
    '',
    `${verdict.payments} payments: ${verdict.paid} told as paid, ${verdict.toldBefore} told that they were settled already, refused ${refused}; ${verdict.unknown} without an answer, **${verdict.wrong} wrong** by the`,
    `chain. Half were told within ${verdict.medianSeconds.toFixed(1)} s, the last within ${verdict.slowestSeconds.toFixed(1)} s. ${copy.told.events} events until the database was lost: ${copy.told.late} told when they were asked for again,`,
    `${copy.told.untold} untold. ${told.events} of the ledger that took its place: ${told.late} told when they were asked for again, ${told.untold} untold.`,
    '',
    `The copy was ${age} s old when the database was lost, and ${verdict.paidSince} payments were begun and told as paid after it had taken its place. ${verdict.lost} were under way when it was lost,`,
    `paid, and not in the copy: that their authorization was used is all that they were told. Of the others ${again.asked} were told as paid between the copy and the end, and each was asked for`,
    `once more: **${again.told.paid ?? 0} were told so again**. The token has refused ${again.byToken} of which the ledger knew nothing, and ${again.told.before ?? 0} were told that they were settled already: ${again.inTheCopy} that`,
    'were under way in the copy, and those that were paid after it had taken its place.',
  ];
  writeBetween('night', lines);
}

/** Makes the copy, and returns how it takes the place of a lost database, and when that was. What happened until then is `told` before. */
async function copyDatabase({ server, replicas, payments, told }) {
  const copy = { begunAt: Date.now(), skipped: payments.countPaid() };
  await postgres('copy', server);
  copy.madeAt = Date.now();
  const restore = async () => {
    await sleep(Math.max(0, copy.madeAt + COPY_AGE_MS - Date.now()));
    copy.told = await told();
    await postgres('stop', server);
    copy.lostAt = Date.now();
    await replicas.restore(() => postgres('back', server));
    copy.backAt = Date.now();
  };
  return { copy, restore };
}

async function night({ add, directory, server }) {
  const binary = process.env.QUITTANCE_BIN;
  const chain = await add(startChain({ blockTime: 1, slotsInAnEpoch: 32 }));
  const database = await postgres('start', server);
  await add({ stop: () => postgres('stop', server) });
  const node = await add(startNode(chain.url));
  const receiver = await add(startReceiver());
  const replicas = await add(startReplicas({ binary, before: OPTIONS.before ?? binary, directory, chain, node, database }));
  const key = /^API key\s+(\S+)/m.exec(replicas.command('account', 'create', 'A shop'))[1];
  const registered = await fetch(`${replicas.urls[0]}/v1/webhooks`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ url: receiver.url }),
  });
  if (!registered.ok) throw new Error(`the webhook was answered ${registered.status}`);
  const { id: webhook } = await registered.json();
  const prometheus = await add(startPrometheus(replicas.targets, HURRY));

  const payTo = chain.world.merchant;
  const payments = startPayments({ chain, payTo, perSecond: PER_SECOND, urls: replicas.urls, key });
  await untilPaid(prometheus, MADE_FIRST);
  await until(prometheus, 'All is well', new Set(), (now) => now.size === 0);
  const told = () => untilTold({ url: replicas.urls[0], key, webhook, receiver });
  const { copy, restore } = await copyDatabase({ server, replicas, payments, told });
  const timeline = [];
  const failures = [];
  for (const act of acts({ chain, node, receiver, replicas, server, restore }).filter(({ what }) => what.includes(OPTIONS.only))) {
    try {
      timeline.push(await play(prometheus, act));
    } catch (error) {
      // The rest of the night is worth seeing, and so is what the chain says in the end.
      console.error(error.message);
      failures.push(act.what);
    }
  }

  const again = copy.backAt && (await payments.askAgain(copy));
  const verdict = await judge({ chain, payTo, copy }, await payments.stop());
  const toldInTheEnd = await told();
  console.log(JSON.stringify({ verdict, again, toldBefore: copy.told, toldInTheEnd }, null, 1));
  if (again && (again.inTheCopy === 0 || verdict.paidSince === 0)) failures.push('nothing shows what a restored copy does');
  if (verdict.wrong + verdict.unknown + verdict.unexpected + (again?.wrong ?? 0) + (copy.told?.untold ?? 0) + toldInTheEnd.untold + failures.length > 0) {
    throw new Error(`the night went wrong: ${failures.join('; ') || 'see above'}`);
  }
  if (OPTIONS.write && !OPTIONS.only) write(timeline, { verdict, again, copy, told: toldInTheEnd, age: seconds(copy.lostAt - copy.madeAt) });
}

await rehearse('night', night);
