// What makes each alarm go off. Acts of one stage are played at the same time, and have nothing to do with each other; the acts of a list
// within a stage follow on each other. How an act begins returns how it ends.

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { createWalletClient, hexToBigInt, http, pad, toHex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { until } from '../night/alerts.mjs';
import { startFlood, startIdlers } from './callers.mjs';
import { CONNECTIONS_OF_ADDRESS } from './world.mjs';

const PATIENCE_MS = 120_000;
/** Where Circle's proxy keeps its implementation: keccak256 of "org.zeppelinos.proxy.implementation". */
const IMPLEMENTATION_SLOT = '0x7050c9e0f4ca769c69bd3a8ef740bc37934f8e2c036e5a723fd8ee048ed3f8c3';
/** Of `upgradeTo(address)`, `pause()` and `unpause()`. */
const [UPGRADE_TO, PAUSE, UNPAUSE] = ['0x3659cfe6', '0x8456cb59', '0x3f4ba83a'];
const PLENTY = 10n ** 22n;

/** Repeats an action until the returned function is called, which waits for the last one. */
function repeat(milliseconds, action) {
  let going = true;
  const repeating = (async () => {
    while (going) {
      await action();
      await sleep(milliseconds);
    }
  })().catch((error) => console.error(error));
  return () => ((going = false), repeating);
}

/** What one act says, and another waits for. */
function occasion() {
  const occasion = {};
  occasion.promise = new Promise((resolve) => (occasion.resolve = resolve));
  return occasion;
}

/** Everything that is played with the parts of a world. */
export function stages(world) {
  const { chain, node, solanaNode, signer, receiver, prometheus } = world;
  const { network, usdc } = chain.world;
  const account = chain.world.accounts.signers[0].address;
  const untold = occasion();

  const act = (what, alerts, begin) => ({ what, alerts, begin });
  const value = async (query) => Number((await prometheus.ask(query))[0]?.value[1] ?? 0);

  /** A part of the world is unwell in one way. */
  const unwell = (part, field, wrong) => () => {
    const right = part[field];
    part[field] = wrong;
    return () => (part[field] = right);
  };

  const restart = async (...replicas) => {
    await Promise.all(replicas.map((replica) => replica.stop()));
    await Promise.all(replicas.map((replica) => replica.start()));
  };

  async function restartAgainAndAgain() {
    await world.another.start();
    return repeat(2_000, () => restart(world.another));
  }

  async function runAnotherVersion() {
    world.another.binary = world.other;
    await restart(world.another);
    return () => world.another.stop();
  }

  /** Days pass for one delivery, as often as it is tried. */
  function giveUp() {
    receiver.down = true;
    const stop = repeat(300, () => world.sql(`UPDATE deliveries SET next_at = now() WHERE id = (SELECT id FROM deliveries
      WHERE next_at IS NOT NULL AND last_status = 500 ORDER BY attempts DESC, id LIMIT 1) AND next_at > now()`));
    return () => ((receiver.down = false), stop());
  }

  async function miscount() {
    await world.register();
    await world.command('reconcile', network);
    // The first balances may be those of a later block than Prometheus knows of, and the next ones are those some blocks below the head.
    const from = (await value(`max(quittance_head_block{network="${network}"})`)) + 5;
    const cursor = () => value(`max(quittance_cursor_block{network="${network}"})`);
    await until(async () => (await cursor()) > from + 15, PATIENCE_MS, () => 'no new blocks');
    const row = await world.sql(`UPDATE transfers SET amount = amount + 1 WHERE (network, block_hash, index) = (SELECT network, block_hash, index
      FROM transfers WHERE network = '${network}' AND canonical AND block_number > ${from} AND recipient = (SELECT address FROM addresses LIMIT 1)
      ORDER BY block_number LIMIT 1) RETURNING block_hash, index`);
    const [block, index] = row.split('|');
    await world.command('reconcile', network);
    return async () => {
      await world.sql(`UPDATE transfers SET amount = amount - 1 WHERE network = '${network}' AND block_hash = '${block}' AND index = ${index}`);
      await world.command('reconcile', network);
    };
  }

  async function perpetuate() {
    const [id, begun] = (await world.sql('SELECT id, begun_at FROM reconciliations ORDER BY id DESC LIMIT 1')).split('|');
    const set = (time) => world.sql(`UPDATE reconciliations SET begun_at = '${time}' WHERE id = '${id}'`);
    await set('infinity');
    return () => set(begun);
  }

  const balance = async () => hexToBigInt(await chain.rpc.call('eth_getBalance', [account, 'latest']));
  const setBalance = (wei) => chain.rpc.call('anvil_setBalance', [account, toHex(wei > 0n ? wei : 0n)]);

  async function drain() {
    const share = (await balance()) / 100n;
    const stop = repeat(1_000, async () => setBalance((await balance()) - share));
    return async () => (await stop(), await setBalance(PLENTY));
  }

  /** Calls the token as one of those who may do more with it than others. */
  async function callToken({ key }, data) {
    const caller = privateKeyToAccount(key);
    await chain.rpc.call('anvil_setBalance', [caller.address, toHex(PLENTY)]);
    await createWalletClient({ account: caller, transport: http(chain.url) }).sendTransaction({ chain: null, to: usdc, data });
  }

  async function pause() {
    const { deployer } = chain.world.accounts;
    signer.away = true;
    const oldest = () => value('max(quittance_payments_oldest_seconds{state="queued"})');
    await until(async () => (await oldest()) > 5, PATIENCE_MS, () => 'nothing waits');
    await callToken(deployer, PAUSE);
    signer.away = false;
    return () => callToken(deployer, UNPAUSE);
  }

  /** The new code is the one that the token has, but it is announced as any other would be. */
  async function upgrade() {
    const implementation = await chain.rpc.call('eth_getStorageAt', [usdc, IMPLEMENTATION_SLOT, 'latest']);
    await callToken(chain.world.accounts.proxyAdmin, UPGRADE_TO + pad(implementation).slice(2));
    return () => world.command('network', 'resume', network);
  }

  async function reorganise() {
    await until(async () => (await value('sum(quittance_payments_included_total)')) > 100, PATIENCE_MS, () => 'nothing is paid');
    await chain.rpc.call('anvil_reorg', [6, []]);
    return () => {};
  }

  async function showBareBlocks() {
    await world.registerOnSolana();
    return unwell(solanaNode, 'blocks', 'without transactions')();
  }

  const loseBlock = async () => unwell(node, 'missing', Number(await chain.rpc.call('eth_blockNumber')) + 2)();

  async function endWorker() {
    await world.worker.stop();
    return untold.resolve;
  }

  /** The key of receipts is followed by another, and thrown away, while statements of its time wait. */
  function forgetKey() {
    const parts = Object.fromEntries(JSON.parse(readFileSync(world.keys)).keys.map(({ kid, d }) => [kid, d]));
    execFileSync(world.binary, ['keys', 'rotate', '--file', world.keys, '--after', '0']);
    const ring = JSON.parse(readFileSync(world.keys));
    for (const key of ring.keys) if (key.retiredAt) delete key.d;
    writeFileSync(world.keys, JSON.stringify(ring));
    return () => {
      for (const key of ring.keys) key.d ??= parts[key.kid];
      writeFileSync(world.keys, JSON.stringify(ring));
    };
  }

  async function bringWorkerBack() {
    await untold.promise;
    const remember = forgetKey();
    receiver.hangs = true;
    await world.worker.start();
    return async () => {
      receiver.hangs = false;
      remember();
      await restart(world.worker);
    };
  }

  /** Nothing else is changed, so the replica does as before. */
  function misspell() {
    const { file } = world.api;
    const text = readFileSync(file, 'utf8');
    const read = (text) => (writeFileSync(file, text), world.api.process.kill('SIGHUP'));
    read(text.replace('[limits]', '[limit]'));
    return () => read(text);
  }

  async function takeSignerAway() {
    node.mood = 'losing';
    await until(() => node.lost > 0, PATIENCE_MS, () => 'nothing was lost');
    world.configure(world.spare);
    await restart(world.api, world.settlement, world.worker);
    return async () => {
      node.mood = 'well';
      world.configure(world.spare, signer.entry);
      await restart(world.api, world.settlement, world.worker);
    };
  }

  async function endAll() {
    const all = [world.api, world.settlement, world.worker];
    await Promise.all(all.map((replica) => replica.stop()));
    return () => Promise.all(all.map((replica) => replica.start()));
  }

  const [from, { url }] = ['127.0.0.2', world.api];
  return [
    [
      act(
        'The provider has not answered since the first start',
        ['ReconcileOverdue', 'VerificationsUnavailable', 'SettlementsUnavailable', 'RequestsFailing'],
        () => () => (node.mood = 'well'),
      ),
      act('An address without a key asks twenty times a second, and may ask five times', ['RateLimited'], () =>
        startFlood({ url, localAddress: from, perSecond: 20 }),
      ),
      [
        act('A replica is started again and again', ['Restarting'], restartAgainAndAgain),
        act('A replica of another version runs beside the others', ['VersionsDiffer'], runAnotherVersion),
      ],
    ],
    [
      act(
        'The provider takes 2.6 seconds for each answer',
        ['NodesSlow', 'VerificationsSlow', 'WatcherBehind'],
        unwell(node, 'delayMs', 2_600),
      ),
    ],
    [
      act('The provider tells of no further final block', ['FinalityStandsStill'], unwell(node, 'finality', 'still')),
      act('A receiver refuses an event ten times, and three days are brought forward', ['WebhookGivenUp'], giveUp),
      [
        act('The ledger says of a credit that it was more than it was', ['ReconcileDifferences'], miscount),
        act('The ledger says that the last comparison begins at the end of all days, at which its task panics', ['TaskRestarts'], perpetuate),
      ],
      act('An address holds as many connections as it may have, and wants more', ['FilesNearLimit', 'ConnectionsRefused'], () =>
        startIdlers({ url, localAddress: from, count: CONNECTIONS_OF_ADDRESS + 5 }),
      ),
    ],
    [
      act(
        'The provider is thirty blocks behind the network',
        ['HeadOld', 'SettlementsPending', 'SettlementsSlow'],
        unwell(node, 'lagBlocks', 30),
      ),
      act('The file of a replica is misspelled when it is read again', ['ConfigurationRefused'], misspell),
    ],
    [
      [
        act('Whoever keeps the key of the only signer does not answer', ['SignerAway'], unwell(signer, 'away', true)),
        act('The issuer pauses the token while payments wait for their signer', ['PaymentsFailing'], pause),
      ],
    ],
    [act('The provider refuses every transaction', ['BroadcastsRejected'], unwell(node, 'mood', 'refusing'))],
    [
      act('Six blocks with payments are replaced', ['PaymentReversed'], reorganise),
      act('The only provider of Solana shows blocks without their transactions', ['NetworkStuck'], showBareBlocks),
    ],
    [act('The only provider of an EVM network has lost a block', ['NetworkStuck'], loseBlock)],
    [act('The token gets other code', ['NetworkHalted'], upgrade)],
    [
      act('A hundredth of what the signer held goes away each second', ['SignerDraining'], drain),
      act('No replica in the role worker runs, and payments go on', ['EventsUntold'], endWorker),
      act(
        'The worker comes back without the private part of the last key of receipts, and the receiver of webhooks hangs',
        ['ReceiptsUnsigned', 'WebhookBacklog'],
        bringWorkerBack,
      ),
    ],
    [
      act(
        'The provider loses transactions, and their signer is taken out of the configuration',
        ['SignerMissing', 'PaymentOld'],
        takeSignerAway,
      ),
    ],
    [act('No replica runs', ['Away'], endAll)],
  ];
}
