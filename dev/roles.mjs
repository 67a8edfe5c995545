// Who is who on the local chains of either family. Whoever works on one does not wait for the packages of the other.

import { isSolana } from './solana/networks.mjs';

/** The accounts with a part to play on this network, by its name in either version of the protocol. */
export async function rolesOf(network) {
  if (isSolana(network)) return (await import('./solana/accounts.mjs')).solanaRoles();
  return (await import('./chain/accounts.mjs')).roles();
}
