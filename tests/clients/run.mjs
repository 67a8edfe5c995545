// Runs other people's clients and servers against Quittance on local chains, and says what came of it.

import { parseArgs } from 'node:util';
import { freePort } from '../../dev/chain/anvil.mjs';
import { closeWhenAsked } from '../../dev/lifetime.mjs';
import { ANSWERS } from './answers.mjs';
import { startFacilitator } from './facilitator.mjs';
import { KNOWN, NOT_RUN, SEEN, STANDS } from './list.mjs';
import { startServer } from './programs.mjs';
import { faultsOfAltered, faultsOfSuccess, purchase, replay } from './purchase.mjs';
import { startRecorder } from './recorder.mjs';
import { writeDocument } from './table.mjs';
import { startWorld } from './world.mjs';

const HELP = `node tests/clients/run.mjs [options]

  --fast            one client of each language, on EVM, without altered answers
  --only TEXT       only servers whose name or language contains TEXT
  --no-altered      only purchases that succeed
  --jobs NUMBER     servers at a time (default 2)
  --write           write docs/CLIENTS.md
  --verbose         tell what everybody said when something failed

The binary is QUITTANCE_BIN, or release or debug in CARGO_TARGET_DIR or ../target.`;

/** A resource server on one network with everything that buys from it. */
async function runStand({ stand, family, altered, world, tell }) {
  const chain = world.chains[family];
  const network = chain.network(stand.x402);
  const rows = [];
  const started = [];
  try {
    const merchant = chain.account().address;
    const facilitator = await startFacilitator(world.quittance.url);
    started.push(facilitator);
    const environment = {
      FACILITATOR_URL: facilitator.url,
      NETWORK: network,
      PAY_TO: merchant,
      PORT: String(await freePort()),
      RPC_URL: chain.rpcUrl,
      WAY: stand.way,
    };
    const server = await startServer(stand.server.program, environment);
    started.push(server);
    const recorder = await startRecorder(server.url);
    started.push(recorder);
    const url = recorder.url + stand.path;
    const scene = { chain, network, url, merchant, facilitator, recorder };

    for (const client of stand.clients.filter(({ families = [family] }) => families.includes(family))) {
      const bought = await purchase({ client, ...scene });
      const faults = faultsOfSuccess(bought);
      if (!faults.length) faults.push(...(await replay(bought, scene)));
      rows.push(tell({ stand, client, family, faults, bought, words: server.lastWords() }));
    }
    for (const client of altered) {
      for (const answer of ANSWERS) {
        const bought = await purchase({ client, ...scene, altered: answer });
        rows.push(tell({ stand, client, family, answer, faults: faultsOfAltered(answer, bought), bought, words: server.lastWords() }));
      }
    }
  } catch (error) {
    rows.push(tell({ stand, client: stand.clients[0], family, faults: [error.message] }));
  } finally {
    while (started.length) await started.pop().stop();
  }
  return rows;
}

/** The entry of the list that explains everything that went wrong, if there is one. */
function known({ stand, client, answer, faults }) {
  const entry = KNOWN.find(
    ({ party, x402, ways = ['exact'], answers, fault }) =>
      [stand.server.name, client.name].includes(party) &&
      [undefined, stand.x402].includes(x402) &&
      ways.includes(stand.way) &&
      answers.includes(answer?.name) &&
      faults.every((one) => fault.test(one)),
  );
  if (entry) entry.seen = true;
  return entry;
}

function teller(verbose) {
  return (told) => {
    const row = { ...told, known: told.faults.length ? known(told) : undefined };
    const { stand, client, family, answer, faults, bought, words } = row;
    const what = [stand.server.name, client.name, `v${stand.x402}`, family, stand.way !== 'exact' && stand.way, answer?.name].filter(Boolean).join(', ');
    const outcome = answer && bought ? `${bought.status}, ${bought.served ? 'served' : 'not served'}, spent ${bought.spent}, ${bought.payments} signed` : '';
    const verdict = !faults.length ? 'ok    ' : row.known ? 'known ' : 'FAILED';
    console.log(`${verdict} ${what}  ${outcome} ${faults.join('; ')}`.trimEnd());
    if (verbose && verdict === 'FAILED') {
      for (const { path, status, body } of bought?.calls ?? []) console.log(`       ${path} ${status} ${body}`);
      console.log(`       ${JSON.stringify(bought?.result)}\n${words ?? ''}`);
    }
    return row;
  };
}

/** Runs the jobs, `width` at a time, and resolves to their results in the order of the jobs. */
async function inParallel(jobs, width) {
  const results = [];
  let next = 0;
  const worker = async () => {
    while (next < jobs.length) {
      const mine = next++;
      results[mine] = await jobs[mine]();
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
  return results;
}

function chosen({ fast, only }) {
  const wanted = (stand) => (!fast || stand.fast) && (!only || `${stand.language} ${stand.server.name} v${stand.x402}`.includes(only));
  return STANDS.filter(wanted).flatMap((stand) => {
    const one = fast ? { ...stand, clients: stand.fast } : stand;
    return (fast ? ['evm'] : stand.families).map((family) => ({ stand: one, family }));
  });
}

/** Altered answers are tried on EVM, by EIP-3009, until every server and every client has met them, in each version of the protocol. */
function withAlteredAnswers(list) {
  const met = new Set();
  return list.map(({ stand, family }) => {
    if (family !== 'evm' || stand.way !== 'exact') return { stand, family, altered: [] };
    const key = ({ name, version }) => `${name} ${version} ${stand.x402}`;
    const server = `server ${key(stand.server)}`;
    const altered = stand.clients.filter((client) => {
      const fresh = !met.has(server) || !met.has(key(client));
      met.add(server).add(key(client));
      return fresh;
    });
    return { stand, family, altered };
  });
}

async function main() {
  process.setMaxListeners(0);
  const { values } = parseArgs({
    options: {
      fast: { type: 'boolean' },
      only: { type: 'string' },
      'no-altered': { type: 'boolean' },
      jobs: { type: 'string', default: '2' },
      write: { type: 'boolean' },
      verbose: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return console.log(HELP);

  const everything = !values.fast && !values.only && !values['no-altered'];
  if (values.write && !everything) throw new Error('The document is written from a run of everything.');
  const list = chosen(values);
  if (!list.length) throw new Error('Nothing was chosen.');
  const planned = values.fast || values['no-altered'] ? list.map((one) => ({ ...one, altered: [] })) : withAlteredAnswers(list);

  const world = await startWorld([...new Set(list.map(({ family }) => family))]);
  // The programs of the clients end with this process. Whoever interrupts a run has not seen it succeed.
  process.exitCode = 1;
  closeWhenAsked(world.stop);
  let rows;
  try {
    const tell = teller(values.verbose);
    const jobs = planned.map((one) => () => runStand({ ...one, world, tell }));
    rows = (await inParallel(jobs, Number(values.jobs))).flat();
  } finally {
    await world.stop();
  }
  const failed = rows.filter(({ faults, known }) => faults.length && !known);
  const stale = everything ? KNOWN.filter(({ seen }) => !seen) : [];
  for (const { party, why } of stale) console.log(`No longer so: ${party}: ${why}`);
  if (values.write) writeDocument({ rows, answers: ANSWERS, seen: SEEN, notRun: NOT_RUN });
  console.log(`${rows.length - failed.length} passed, ${failed.length} failed`);
  process.exitCode = failed.length || stale.length ? 1 : 0;
}

await main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
