// Starts a local chain from a state file.

import { existsSync } from 'node:fs';
import { startAnvil } from './anvil.mjs';
import { buildState, cachedStateFile, worldOf } from './state.mjs';

const TOLERATED_CLOCK_ERROR_SECONDS = 5;

export const DEFAULTS = { chainId: 84532, payerCount: 100, slotsInAnEpoch: 2 };

/**
 * Starts a chain and resolves to `{ url, wsUrl, pid, rpc, world, exited, stop }`.
 *
 * - `stateFile` is built when it does not exist; without it a cache under `.state/` is used.
 * - `blockTime` in seconds, fractions allowed; 0 or nothing mines every transaction at once.
 * - `slotsInAnEpoch` N makes `safe` lag N blocks and `finalized` 2N.
 */
export async function startChain({
  chainId = DEFAULTS.chainId,
  payerCount = DEFAULTS.payerCount,
  slotsInAnEpoch = DEFAULTS.slotsInAnEpoch,
  port = 0,
  blockTime = 0,
  stateFile = cachedStateFile({ chainId, payerCount }),
  anvilArgs = [],
} = {}) {
  if (!existsSync(stateFile)) await buildState(stateFile, { chainId, payerCount });
  const world = worldOf(stateFile);
  if (world.chainId !== chainId) throw new Error(`${stateFile} is a state of chain ${world.chainId}, not of ${chainId}.`);
  if (world.payers.length < payerCount) throw new Error(`${stateFile} has ${world.payers.length} payers, not ${payerCount}.`);

  const mining = blockTime > 0 ? ['--block-time', String(blockTime)] : [];
  const anvil = await startAnvil({
    chainId,
    port,
    args: ['--load-state', stateFile, '--slots-in-an-epoch', String(slotsInAnEpoch), ...mining, ...anvilArgs],
  });
  try {
    await bringToThePresent(anvil.rpc);
  } catch (error) {
    await anvil.stop();
    throw error;
  }
  return { ...anvil, world };
}

/**
 * An eth_call at the newest block sees that block's time, and EIP-3009 compares its window with it. The newest block of a
 * loaded state is as old as the state, so one block with the present time is mined before anybody looks.
 */
async function bringToThePresent(rpc) {
  const now = () => Math.floor(Date.now() / 1000);
  const behind = async () => now() - Number((await rpc.call('eth_getBlockByNumber', ['latest', false])).timestamp);
  await rpc.call('evm_mine');
  if (Math.abs(await behind()) <= TOLERATED_CLOCK_ERROR_SECONDS) return;
  await rpc.call('anvil_setTime', [now()]);
  await rpc.call('evm_mine');
  const error = await behind();
  if (Math.abs(error) > TOLERATED_CLOCK_ERROR_SECONDS) throw new Error(`The chain's clock is ${error} s behind.`);
}
