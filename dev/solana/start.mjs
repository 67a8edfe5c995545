// Starts a local Solana node with everything on it. There is no state to keep: setting it up takes less than a slot.

import { networkOfGenesis } from './networks.mjs';
import { startSurfnet } from './surfnet.mjs';
import { buildSolanaWorld, describeSolanaWorld } from './world.mjs';

export const DEFAULTS = { network: 'devnet', payerCount: 100, slotTimeMs: 400 };

/**
 * Starts a node and resolves to `{ url, wsUrl, pid, rpc, world, exited, stop }`.
 *
 * - `network` is the one it stands in for, `devnet` or `mainnet`; its genesis is another at every start.
 * - `slotTimeMs` is the time between blocks; `finalized` lags 31 of them.
 */
export async function startSolana({
  network = DEFAULTS.network,
  payerCount = DEFAULTS.payerCount,
  slotTimeMs = DEFAULTS.slotTimeMs,
  port = 0,
  wsPort = 0,
} = {}) {
  const world = await describeSolanaWorld({ network, payerCount });
  const node = await startSurfnet({ slotTimeMs, port, wsPort });
  try {
    await buildSolanaWorld(node, world);
    const genesisHash = await node.rpc.call('getGenesisHash');
    return { ...node, world: { ...world, genesisHash, genesisNetwork: networkOfGenesis(genesisHash) } };
  } catch (error) {
    await node.stop();
    throw error;
  }
}
