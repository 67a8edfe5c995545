// The networks that a local Solana node can stand in for. The x402 clients know Solana's networks by their real genesis
// hashes and refuse every other, so a local node goes by the name of a real one although its genesis is its own.

const NETWORKS = {
  devnet: {
    label: 'Solana Devnet',
    id: 'solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1',
    v1Name: 'solana-devnet',
    usdc: '4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU',
  },
  mainnet: {
    label: 'Solana',
    id: 'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp',
    v1Name: 'solana',
    usdc: 'EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v',
  },
};

/** What is known about `devnet` or `mainnet`. */
export function solanaNetwork(name) {
  const network = NETWORKS[name];
  if (!network) throw new Error(`${name} is no Solana network here; use one of ${Object.keys(NETWORKS).join(', ')}.`);
  return network;
}

/** The name that version 1 of the protocol has for a CAIP-2 identifier. */
export function v1NameOf(id) {
  const network = Object.values(NETWORKS).find((known) => known.id === id);
  if (!network) throw new Error(`${id} is no Solana network that the x402 packages know.`);
  return network.v1Name;
}

/** Whether a network, by its name in either version of the protocol, is one of Solana's. */
export const isSolana = (network) => /^solana($|[:-])/.test(network);

/** The CAIP-2 identifier of the chain that begins with this genesis. */
export const networkOfGenesis = (genesisHash) => `solana:${genesisHash.slice(0, 32)}`;
