// The built service on a local chain, for the calls of docs/API.md: `node dev/try.mjs` prints what they need, and runs until Ctrl-C.

import { fileURLToPath } from 'node:url';
import { startChain } from './chain/start.mjs';
import { command } from './demo/merchant-account.mjs';
import { startQuittance } from './demo/service.mjs';
import { closeWhenAsked, fail } from './lifetime.mjs';

/** Starts both, and resolves to the variables that the calls use, and a way to end it. */
export async function startTry() {
  const chain = await startChain({ blockTime: 0.5 });
  const { world } = chain;
  const { merchant, signers } = world.accounts;
  try {
    const service = await startQuittance({ chains: [chain], keyOf: () => signers[0].key, access: 'keys' });
    const keys = await Promise.all(['provider', 'merchant', 'operator'].map((scope) => keyOf(service, scope)));
    const environment = {
      QUITTANCE: service.url,
      OPERATIONS: service.operationsUrl,
      QUITTANCE_BIN: service.executable,
      QUITTANCE_CONFIG: service.configFile,
      PROVIDER: keys[0],
      MERCHANT: keys[1],
      OPERATOR: keys[2],
      NETWORK: world.network,
      RPC: chain.url,
      USDC: world.usdc,
      ADDRESS: merchant.address,
      ADDRESS_KEY: merchant.key,
      WALLET_KEY: world.payers[0].key,
      ...signersIn(service.environment),
    };
    async function stop() {
      await service.stop();
      await chain.stop();
    }
    return { environment, service, exited: service.exited, stop };
  } catch (error) {
    await chain.stop();
    throw error;
  }
}

/** The keys of signers, which every command on the service's configuration needs. */
const signersIn = (environment) => Object.fromEntries(Object.entries(environment).filter(([name]) => name.startsWith('DEMO_SIGNER_')));

async function keyOf(service, scope) {
  const printed = await command(service, ['account', 'create', scope, '--scope', scope]);
  return /^API key\s+(\S+)/m.exec(printed)[1];
}

async function main() {
  const { environment, exited, stop } = await startTry();
  closeWhenAsked(stop);
  for (const [name, value] of Object.entries(environment)) console.log(`export ${name}=${value}`);
  console.error('\nPaste these lines into a shell at the root of the repository. Everything runs until Ctrl-C.');
  await exited;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main().catch(fail);
