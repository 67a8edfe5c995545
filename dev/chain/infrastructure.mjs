// Contracts that every real network has and an empty anvil does not.

import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
// viem does not export this constant; its version is pinned, so the path holds.
import { multicall3Bytecode } from '../node_modules/viem/_esm/constants/contracts.js';

export const MULTICALL3 = '0xcA11bde05977b3631167028862bE2a173976CA11';
export const PERMIT2 = '0x000000000022D473030F116dDEE9F6B43aC78BA3';
export const EXACT_PERMIT2_PROXY = '0x402085c248EeA27D92E8b30b2C58ed07f9E20001';
export const UPTO_PERMIT2_PROXY = '0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002';
export const L1_FEE_ORACLE = '0x420000000000000000000000000000000000000F';

const DETERMINISTIC_DEPLOYER = '0x4e59b44847b379578588920cA78FbF26c0B4956C';
const PERMIT2_SALT = '0x0000000000000000000000000000000000000000d3af2663da51c10215000000';

const PERMIT2_INITCODE = new URL('../contracts/permit2.initcode', import.meta.url);
const compiled = (name) => fileURLToPath(new URL(`../../contracts/out/${name}.json`, import.meta.url));
const L1_FEE_ORACLE_STUB = compiled('L1FeeOracleStub');
const PERMIT2_PROXIES = { [EXACT_PERMIT2_PROXY]: 'ExactPermit2Proxy', [UPTO_PERMIT2_PROXY]: 'UptoPermit2Proxy' };

/** The stub that stands in for the OP stack's gas price oracle is compiled in `contracts/`, which may not have happened yet. */
export const hasL1FeeOracle = (network) => network.opStack && existsSync(L1_FEE_ORACLE_STUB);

export function installPermit2(site) {
  site.deployThrough(DETERMINISTIC_DEPLOYER, PERMIT2_SALT, readFileSync(PERMIT2_INITCODE, 'utf8').trim());
}

/** Multicall3 was deployed with a key nobody else has, so its code is put in place; a call with its creation code returns it. */
export async function installMulticall3(site, rpc) {
  site.patch('anvil_setCode', MULTICALL3, await rpc.call('eth_call', [{ data: multicall3Bytecode }, 'latest']));
}

/** No package has the bytecode of the proxies that x402 calls Permit2 through, so ours stand at their addresses. */
export function installPermit2Proxies(site) {
  for (const [address, name] of Object.entries(PERMIT2_PROXIES)) {
    site.patch('anvil_setCode', address, JSON.parse(readFileSync(compiled(name), 'utf8')).deployedBytecode);
  }
}

export function installL1FeeOracle(site, network) {
  if (hasL1FeeOracle(network)) {
    const { deployedBytecode } = JSON.parse(readFileSync(L1_FEE_ORACLE_STUB, 'utf8'));
    site.patch('anvil_setCode', L1_FEE_ORACLE, deployedBytecode);
  } else if (network.opStack) {
    console.error(`Note: no L1 fee oracle on this chain, because ${L1_FEE_ORACLE_STUB} has not been compiled.`);
  }
}
