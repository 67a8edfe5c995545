// What makes each alarm go off. Acts of one stage are played at the same time, and have nothing to do with each other; the acts of a list
// within a stage follow on each other.

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
  let undo;
  const untold = occasion();

  const lone = (what, alerts, begin, end = () => {}) => ({ what, alerts, begin, end });
  const value = async (query) => Number((await prometheus.ask(query))[0]?.value[1] ?? 0);
  const settings = (part, wrong, right) => [() => Object.assign(part, wrong), () => Object.assign(part, right)];

  /** Calls the token as one of those who may do more with it than others. */
  async function callToken({ key }, data) {
    const account = privateKeyToAccount(key);
    await chain.rpc.call('anvil_setBalance', [account.address, toHex(PLENTY)]);
    await createWalletClient({ account, transport: http(chain.url) }).sendTransaction({ chain: null, to: usdc, data });
  }

  /** Gives the token the code that it has, which it announces as it would any other. */
  async function upgrade() {
    const implementation = await chain.rpc.call('eth_getStorageAt', [usdc, IMPLEMENTATION_SLOT, 'latest']);
    await callToken(chain.world.accounts.proxyAdmin, UPGRADE_TO + pad(implementation).slice(2));
  }

  /** Somebody who has the key, or a price that rises, takes a hundredth of what is there each second. */
  function drain() {
    let left;
    return repeat(1_000, async () => {
      left ??= hexToBigInt(await chain.rpc.call('eth_getBalance', [account, 'latest'])) / 100n;
      const holds = hexToBigInt(await chain.rpc.call('eth_getBalance', [account, 'latest']));
      await chain.rpc.call('anvil_setBalance', [account, toHex(holds > left ? holds - left : 0n)]);
    });
  }

  /** The ledger says of a credit that it was more than it was. */
  async function miscount() {
    await world.register();
    await world.command('reconcile', network);
    const from = Number(await value(`max(quittance_head_block{network="${network}"})`));
    // Balances are compared with those some blocks below the head.
    await until(async () => (await value(`max(quittance_cursor_block{network="${network}"})`)) > from + 15, PATIENCE_MS, () => 'no new blocks');
    const row = await world.sql(`UPDATE transfers SET amount = amount + 1 WHERE (network, block_hash, index) = (SELECT network, block_hash, index FROM
      transfers WHERE network = '${network}' AND canonical AND block_number > ${from} AND recipient = (SELECT address FROM addresses LIMIT 1)
      ORDER BY block_number LIMIT 1) RETURNING block_hash, index`);
    const [block, index] = row.split('|');
    await world.command('reconcile', network);
    return async () => {
      await world.sql(`UPDATE transfers SET amount = amount - 1 WHERE network = '${network}' AND block_hash = '${block}' AND index = ${index}`);
      await world.command('reconcile', network);
    };
  }

  /** The time of the last comparison becomes one that no clock shows. */
  async function perpetuate() {
    const row = (await world.sql('SELECT id, begun_at FROM reconciliations ORDER BY id DESC LIMIT 1')).split('|');
    await world.sql(`UPDATE reconciliations SET begun_at = 'infinity' WHERE id = '${row[0]}'`);
    return () => world.sql(`UPDATE reconciliations SET begun_at = '${row[1]}' WHERE id = '${row[0]}'`);
  }

  /** Days pass for one delivery, as often as it is tried. */
  function age() {
    receiver.down = true;
    return repeat(300, () => world.sql(`UPDATE deliveries SET next_at = now() WHERE id = (SELECT id FROM deliveries
      WHERE next_at IS NOT NULL AND last_status = 500 ORDER BY attempts DESC, id LIMIT 1) AND next_at > now()`));
  }

  /** The key of receipts is followed by another, and thrown away, while statements of its time wait. */
  function forget() {
    const ring = JSON.parse(readFileSync(world.keys));
    execFileSync(world.binary, ['keys', 'rotate', '--file', world.keys, '--after', '0']);
    const rotated = JSON.parse(readFileSync(world.keys));
    const parts = Object.fromEntries(ring.keys.map(({ kid, d }) => [kid, d]));
    for (const key of rotated.keys) if (key.retiredAt) delete key.d;
    writeFileSync(world.keys, JSON.stringify(rotated));
    return () => {
      for (const key of rotated.keys) key.d ??= parts[key.kid];
      writeFileSync(world.keys, JSON.stringify(rotated));
    };
  }

  const restart = async (...replicas) => {
    await Promise.all(replicas.map((replica) => replica.stop()));
    await Promise.all(replicas.map((replica) => replica.start()));
  };

  return [
    [
      lone(
        'The provider has not answered since the first start',
        ['ReconcileOverdue', 'VerificationsUnavailable', 'SettlementsUnavailable', 'RequestsFailing'],
        ...settings(node, { mood: 'away' }, { mood: 'well' }),
      ),
      {
        what: 'An address without a key asks twenty times a second, and may ask five times',
        alerts: ['RateLimited'],
        begin() {
          this.end = startFlood({ url: world.api.url, localAddress: '127.0.0.2', perSecond: 20 });
        },
      },
      [
        {
          what: 'A replica is started again and again',
          alerts: ['Restarting'],
          async begin() {
            await world.another.start();
            this.end = repeat(2_000, () => restart(world.another));
          },
        },
        lone(
          'A replica of another version runs beside the others',
          ['VersionsDiffer'],
          () => ((world.another.binary = world.other), restart(world.another)),
          () => world.another.stop(),
        ),
      ],
    ],
    [
      lone(
        'The provider takes 2.6 seconds for each answer',
        ['NodesSlow', 'VerificationsSlow', 'WatcherBehind'],
        ...settings(node, { delayMs: 2_600 }, { delayMs: 0 }),
      ),
    ],
    [
      lone('The provider tells of no further final block', ['FinalityStandsStill'], ...settings(node, { finality: 'still' }, { finality: 'well' })),
      {
        what: 'A receiver refuses an event ten times, and three days are brought forward',
        alerts: ['WebhookGivenUp'],
        begin() {
          const stop = age();
          this.end = () => ((receiver.down = false), stop());
        },
      },
      [
        {
          what: 'The ledger says of a credit that it was more than it was',
          alerts: ['ReconcileDifferences'],
          async begin() {
            this.end = await miscount();
          },
        },
        {
          what: 'The ledger says that the last comparison begins at the end of all days, at which its task panics',
          alerts: ['TaskRestarts'],
          async begin() {
            this.end = await perpetuate();
          },
        },
      ],
      {
        what: 'An address holds as many connections as it may have, and wants more',
        alerts: ['FilesNearLimit', 'ConnectionsRefused'],
        begin() {
          this.end = startIdlers({ url: world.api.url, localAddress: '127.0.0.2', count: CONNECTIONS_OF_ADDRESS + 5 });
        },
      },
    ],
    [
      lone(
        'The provider is thirty blocks behind the network',
        ['HeadOld', 'SettlementsPending', 'SettlementsSlow'],
        ...settings(node, { lagBlocks: 30 }, { lagBlocks: 0 }),
      ),
    ],
    [
      [
        lone('Whoever keeps the key of the only signer does not answer', ['SignerAway'], ...settings(signer, { away: true }, { away: false })),
        {
          what: 'The issuer pauses the token while payments wait for their signer',
          alerts: ['PaymentsFailing'],
          async begin() {
            signer.away = true;
            const oldest = () => value('max(quittance_payments_oldest_seconds{state="queued"})');
            await until(async () => (await oldest()) > 5, PATIENCE_MS, () => 'nothing waits');
            await callToken(chain.world.accounts.deployer, PAUSE);
            signer.away = false;
          },
          end: () => callToken(chain.world.accounts.deployer, UNPAUSE),
        },
      ],
    ],
    [lone('The provider refuses every transaction', ['BroadcastsRejected'], ...settings(node, { mood: 'refusing' }, { mood: 'well' }))],
    [
      lone('Six blocks with payments are replaced', ['PaymentReversed'], async () => {
        await until(async () => (await value('sum(quittance_payments_included_total)')) > 100, PATIENCE_MS, () => 'nothing is paid');
        await chain.rpc.call('anvil_reorg', [6, []]);
      }),
      lone(
        'The only provider of Solana shows blocks without their transactions',
        ['NetworkStuck'],
        async () => (await world.registerOnSolana(), (solanaNode.blocks = 'without transactions')),
        () => (solanaNode.blocks = 'well'),
      ),
    ],
    [
      {
        what: 'The only provider of an EVM network has lost a block',
        alerts: ['NetworkStuck'],
        begin: async () => (node.missing = Number(await chain.rpc.call('eth_blockNumber')) + 2),
        end: () => (node.missing = null),
      },
    ],
    [lone('The token gets other code', ['NetworkHalted'], upgrade, () => world.command('network', 'resume', network))],
    [
      {
        what: 'A hundredth of what the signer held goes away each second',
        alerts: ['SignerDraining'],
        begin: () => (undo = drain()),
        end: async () => (await undo(), await chain.rpc.call('anvil_setBalance', [account, toHex(PLENTY)])),
      },
      {
        what: 'No replica in the role worker runs, and payments go on',
        alerts: ['EventsUntold'],
        begin: () => world.worker.stop(),
        end: () => untold.resolve(),
      },
      {
        what: 'The worker comes back without the private part of the last key of receipts, and the receiver of webhooks hangs',
        alerts: ['ReceiptsUnsigned', 'WebhookBacklog'],
        async begin() {
          await untold.promise;
          const remember = forget();
          receiver.hangs = true;
          await world.worker.start();
          this.end = async () => {
            receiver.hangs = false;
            remember();
            await restart(world.worker);
          };
        },
      },
    ],
    [
      {
        what: 'The provider loses transactions, and their signer is taken out of the configuration',
        alerts: ['SignerMissing', 'PaymentOld'],
        async begin() {
          node.mood = 'losing';
          await until(() => node.lost > 0, PATIENCE_MS, () => 'nothing was lost');
          world.configure(world.spare);
          await restart(world.api, world.settlement, world.worker);
        },
        async end() {
          node.mood = 'well';
          world.configure(world.spare, signer.entry);
          await restart(world.api, world.settlement, world.worker);
        },
      },
    ],
    [
      lone(
        'No replica runs',
        ['Away'],
        () => Promise.all([world.api, world.settlement, world.worker].map((replica) => replica.stop())),
        () => Promise.all([world.api, world.settlement, world.worker].map((replica) => replica.start())),
      ),
    ],
  ];
}
