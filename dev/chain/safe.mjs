// Safe 1.4.1, the contract wallet that pays by EIP-1271. The npm package holds the very bytes of the official release, so
// deploying them through Safe's factory puts them at their official addresses.

import { concat, encodeFunctionData, encodePacked, getContractAddress, keccak256, pad, zeroAddress } from 'viem';
import { safe } from './artifacts.mjs';

const SINGLETON_FACTORY = '0x914d7Fec6aaC8cd542e72Bca78B30650d45643d7';
// The common CREATE2 factory, which anvil has from the start. Safe's factory is the same code at another address.
const SAME_FACTORY = '0x4e59b44847b379578588920cA78FbF26c0B4956C';
const SALT = pad('0x00');

// The wallet with the first number is deployed; the second is only an address until somebody deploys it (ERC-6492).
const DEPLOYED = 1n;
const COUNTERFACTUAL = 2n;

const officialAddress = (bytecode) =>
  getContractAddress({ opcode: 'CREATE2', from: SINGLETON_FACTORY, salt: SALT, bytecode });

function release() {
  const parts = {
    singleton: safe('Safe'),
    proxyFactory: safe('proxies/SafeProxyFactory'),
    fallbackHandler: safe('handler/CompatibilityFallbackHandler'),
  };
  const addresses = Object.fromEntries(
    Object.entries(parts).map(([name, { bytecode }]) => [name, officialAddress(bytecode)]),
  );
  return { parts, addresses };
}

/** The owner's two wallets, computed without a chain. */
export function safesOf(owner) {
  const { parts, addresses } = release();
  const initializer = encodeFunctionData({
    abi: parts.singleton.abi,
    functionName: 'setup',
    args: [[owner], 1n, zeroAddress, '0x', addresses.fallbackHandler, zeroAddress, 0n, zeroAddress],
  });
  const wallet = (saltNonce) => ({
    address: getContractAddress({
      opcode: 'CREATE2',
      from: addresses.proxyFactory,
      salt: keccak256(encodePacked(['bytes32', 'uint256'], [keccak256(initializer), saltNonce])),
      bytecode: concat([safe('proxies/SafeProxy').bytecode, pad(addresses.singleton)]),
    }),
    factory: addresses.proxyFactory,
    factoryData: encodeFunctionData({
      abi: parts.proxyFactory.abi,
      functionName: 'createProxyWithNonce',
      args: [addresses.singleton, initializer, saltNonce],
    }),
  });
  return { contracts: addresses, deployed: wallet(DEPLOYED), counterfactual: wallet(COUNTERFACTUAL) };
}

/** Deploys the release and the owner's first wallet. */
export async function installSafe(site, rpc, owner) {
  const { parts } = release();
  site.patch('anvil_setCode', SINGLETON_FACTORY, await rpc.call('eth_getCode', [SAME_FACTORY, 'latest']));
  for (const { bytecode } of Object.values(parts)) site.deployThrough(SINGLETON_FACTORY, SALT, bytecode);

  const { deployed } = safesOf(owner);
  site.call(deployed.factory, deployed.factoryData);
}
