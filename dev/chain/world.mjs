// What stands on a local chain: the plan, which needs no node, and the work of building it.

import { encodeFunctionData, parseAbi } from 'viem';
import { payers, roles } from './accounts.mjs';
import {
  EXACT_PERMIT2_PROXY,
  L1_FEE_ORACLE,
  MULTICALL3,
  PERMIT2,
  UPTO_PERMIT2_PROXY,
  hasL1FeeOracle,
  installL1FeeOracle,
  installMulticall3,
  installPermit2,
  installPermit2Proxies,
} from './infrastructure.mjs';
import { networkOf } from './networks.mjs';
import { installSafe, safesOf } from './safe.mjs';
import { openSite } from './site.mjs';
import { installUsdc, usdcBalance, usdcDomainSeparator } from './usdc.mjs';

const GRANT = 1_000_000_000n; // 1,000 USDC

/** Every address and key of a local chain. The same chain id and number of payers always give the same answer. */
export function describeWorld({ chainId, payerCount }) {
  const network = networkOf(chainId);
  const accounts = roles();
  const safes = safesOf(accounts.safeOwner.address);
  return {
    chainId,
    network: network.id,
    v1Network: network.v1Name,
    usdc: network.usdc,
    usdcName: network.usdcName,
    usdcVersion: network.usdcVersion,
    domainSeparator: usdcDomainSeparator(network),
    multicall3: MULTICALL3,
    permit2: PERMIT2,
    exactPermit2Proxy: EXACT_PERMIT2_PROXY,
    uptoPermit2Proxy: UPTO_PERMIT2_PROXY,
    l1FeeOracle: hasL1FeeOracle(network) ? L1_FEE_ORACLE : null,
    merchant: accounts.merchant.address,
    safe: safes.deployed.address,
    safeContracts: safes.contracts,
    counterfactualSafe: safes.counterfactual,
    accounts,
    payers: payers(payerCount),
  };
}

/** Builds the described world on an empty chain that mines only when told to, and looks at the result. */
export async function buildWorld(rpc, world) {
  const network = networkOf(world.chainId);
  const { deployer, proxyAdmin, buyer, safeOwner } = world.accounts;
  const holders = [buyer.address, world.safe, world.counterfactualSafe.address, ...world.payers.map((p) => p.address)];

  const site = openSite(deployer.address);
  installUsdc(site, { network, deployer: deployer.address, proxyAdmin: proxyAdmin.address, holders, amount: GRANT });
  installPermit2(site);
  installPermit2Proxies(site);
  installL1FeeOracle(site, network);
  await installMulticall3(site, rpc);
  await installSafe(site, rpc, safeOwner.address);
  await site.build(rpc);

  await inspect(rpc, world, holders.at(-1));
}

const READS = parseAbi(['function DOMAIN_SEPARATOR() view returns (bytes32)', 'function isOwner(address) view returns (bool)']);

/** A world that came out wrong must not become a cached state that every later test runs on. */
async function inspect(rpc, world, lastHolder) {
  const read = (to, functionName, args) =>
    rpc.call('eth_call', [{ to, data: encodeFunctionData({ abi: READS, functionName, args }) }, 'latest']);
  const expect = (holds, what) => {
    if (!holds) throw new Error(`The chain ${world.chainId} was not set up as planned: ${what}.`);
  };
  expect((await read(world.usdc, 'DOMAIN_SEPARATOR')) === world.domainSeparator, 'the token has another EIP-712 domain');
  expect(BigInt(await read(world.safe, 'isOwner', [world.accounts.safeOwner.address])), 'the Safe has another owner');
  expect((await usdcBalance(rpc, world.usdc, lastHolder)) === GRANT, `${lastHolder} holds no 1,000 USDC`);
  for (const name of ['permit2', 'exactPermit2Proxy', 'uptoPermit2Proxy', 'multicall3', 'l1FeeOracle']) {
    const address = world[name];
    if (address) expect((await rpc.call('eth_getCode', [address, 'latest'])) !== '0x', `${name} has no code`);
  }
}
