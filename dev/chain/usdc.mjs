// The real USDC: Circle's FiatTokenV2_2 behind Circle's proxy, at the address it has on the real network.

import { domainSeparator, encodeFunctionData, hexToBigInt, pad } from 'viem';
import { circle, linked } from './artifacts.mjs';

// Where the proxy keeps its implementation and its admin: keccak256 of "org.zeppelinos.proxy.implementation" and "….admin".
const IMPLEMENTATION_SLOT = '0x7050c9e0f4ca769c69bd3a8ef740bc37934f8e2c036e5a723fd8ee048ed3f8c3';
const ADMIN_SLOT = '0x10d6a54a4754c8869d6886b5f5d7fbfa5b4522237ea5c60d11bc4e7a1ff9390b';

const MINTER_ALLOWANCE = 10n ** 18n;

/** Installs the token and mints `amount` to each holder. The deployer gets every role: owner, minter, pauser, blacklister. */
export function installUsdc(site, { network, deployer, proxyAdmin, holders, amount }) {
  const token = circle('v2/FiatTokenV2_2');
  const checker = site.deploy(circle('util/SignatureChecker').bytecode);
  const implementation = site.deploy(linked(token, 'SignatureChecker', checker));

  // A constructor cannot run at a chosen address, so the proxy's code and the two slots its constructor would fill are set.
  site.patch('anvil_setCode', network.usdc, circle('v1/FiatTokenProxy').deployedBytecode);
  site.patch('anvil_setStorageAt', network.usdc, IMPLEMENTATION_SLOT, pad(implementation));
  site.patch('anvil_setStorageAt', network.usdc, ADMIN_SLOT, pad(proxyAdmin));

  const call = (functionName, ...args) =>
    site.call(network.usdc, encodeFunctionData({ abi: token.abi, functionName, args }));
  call('initialize', network.usdcName, 'USDC', 'USD', network.usdcDecimals, deployer, deployer, deployer, deployer);
  call('initializeV2', network.usdcName);
  call('initializeV2_1', deployer);
  call('initializeV2_2', [], 'USDC');
  call('configureMinter', deployer, MINTER_ALLOWANCE);
  for (const holder of holders) call('mint', holder, amount);
}

/** The EIP-712 domain a payer signs under. */
export function usdcDomain({ chainId, usdc, usdcName, usdcVersion }) {
  return { name: usdcName, version: usdcVersion, chainId, verifyingContract: usdc };
}

/** The domain separator the token must answer, computed here and not asked from it. */
export const usdcDomainSeparator = (network) => domainSeparator({ domain: usdcDomain(network) });

/** A holder's balance in atomic units, 0.000001 USDC each. */
export async function usdcBalance(rpc, usdc, holder) {
  const data = `0x70a08231${pad(holder).slice(2)}`;
  return hexToBigInt(await rpc.call('eth_call', [{ to: usdc, data }, 'latest']));
}
