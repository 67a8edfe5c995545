// The local world that the clients are run in: a chain with the real USDC, a Solana node, and one Quittance on both.

import { setTimeout as sleep } from 'node:timers/promises';
import { usdcBalance } from '../../dev/chain/usdc.mjs';
import { startChain } from '../../dev/chain/start.mjs';
import { startQuittance } from '../../dev/demo/service.mjs';
import { tokenBalance } from '../../dev/solana/rpc.mjs';
import { startSolana } from '../../dev/solana/start.mjs';
import { ataOf } from '../../dev/solana/tokens.mjs';

// Every purchase has a payer of its own, and every resource server a till, so that what moved is what this purchase cost.
// Altered answers are tried on EVM only.
const EVM_ACCOUNTS = 600;
const SOLANA_ACCOUNTS = 100;
const BLOCK_SECONDS = 0.5;

const OFFERED_DEADLINE_MS = 30_000;

/** Starts the world; `families` are `evm` and `solana`. `accounts` are how many can pay or be paid on each. */
export async function startWorld(families, accounts = { evm: EVM_ACCOUNTS, solana: SOLANA_ACCOUNTS }) {
  const chains = {};
  const started = [];
  async function stop() {
    while (started.length) await started.pop().stop();
  }
  try {
    if (families.includes('evm')) {
      const chain = await startChain({ payerCount: accounts.evm, blockTime: BLOCK_SECONDS });
      started.push(chain);
      chains.evm = evm(chain);
    }
    if (families.includes('solana')) {
      const node = await startSolana({ payerCount: accounts.solana });
      started.push(node);
      chains.solana = solana(node);
    }
    const quittance = await startQuittance({
      chains: Object.values(chains).map(({ chain }) => chain),
      keyOf: ({ world }) => world.accounts.signers[0].key,
    });
    started.push(quittance);
    await offered(quittance.url, Object.values(chains).map(({ network }) => network(2)));
    return { chains, quittance, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Waits until every network is offered: the service is ready when one of them is, and some servers ask once, when they start. */
async function offered(url, networks) {
  const deadline = Date.now() + OFFERED_DEADLINE_MS;
  while (Date.now() < deadline) {
    const { kinds } = await (await fetch(`${url}/supported`)).json();
    if (networks.every((name) => kinds.some(({ network }) => network === name))) return;
    await sleep(50);
  }
  throw new Error(`Not all of ${networks} are offered.`);
}

function evm(chain) {
  const { rpc, world } = chain;
  return { ...shared(chain), balance: (owner) => usdcBalance(rpc, world.usdc, owner) };
}

function solana(node) {
  const { rpc, world } = node;
  return { ...shared(node), balance: async (owner) => tokenBalance(rpc, await ataOf(world.mints.usdc, owner)) };
}

function shared(chain) {
  const { url, world } = chain;
  let next = 0;
  return {
    chain,
    rpcUrl: url,
    network: (version) => (version === 1 ? world.v1Network : world.network),
    /** An account with a thousand USDC that nobody else was given, to pay from or to sell for. */
    account() {
      if (next === world.payers.length) throw new Error('There are more purchases than accounts.');
      return world.payers[next++];
    },
  };
}
