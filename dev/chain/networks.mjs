// The networks a local chain can stand in for. Addresses and EIP-712 names are those of the real networks, so a signature
// made for the real USDC verifies here, and the SDKs' built-in asset tables find the token without being told.

const NETWORKS = {
  84532: {
    label: 'Base Sepolia',
    v1Name: 'base-sepolia',
    usdc: '0x036CbD53842c5426634e7929541eC2318f3dCF7e',
    usdcName: 'USDC',
    opStack: true,
  },
  8453: {
    label: 'Base',
    v1Name: 'base',
    usdc: '0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913',
    usdcName: 'USD Coin',
    opStack: true,
  },
  1329: {
    label: 'Sei',
    v1Name: 'sei',
    usdc: '0xe15fC38F6D8c56aF07bbCBe3BAf5708A2Bf42392',
    usdcName: 'USDC',
    opStack: false,
  },
};

/** Every chain id a local chain can be started with. */
export const CHAIN_IDS = Object.keys(NETWORKS).map(Number);

/** What is known about the network with this chain id, or an error that lists the known ones. */
export function networkOf(chainId) {
  const network = NETWORKS[chainId];
  if (!network) throw new Error(`Chain id ${chainId} is unknown here; use one of ${CHAIN_IDS.join(', ')}.`);
  return { chainId, id: `eip155:${chainId}`, usdcVersion: '2', usdcDecimals: 6, ...network };
}

/** The chain id inside a CAIP-2 identifier such as `eip155:84532`. */
export function chainIdOf(network) {
  const chainId = Number(/^eip155:(\d+)$/.exec(network)?.[1]);
  return networkOf(chainId).chainId;
}
