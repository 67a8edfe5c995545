// What the pages are about: the service on two local chains, and a merchant who is paid on both.

import { createRequire } from 'node:module';
import { startChain } from '../../dev/chain/start.mjs';
import { openMerchant } from '../../dev/demo/merchant-account.mjs';
import { startQuittance } from '../../dev/demo/service.mjs';
import { sendOnEvm, signOnSolana } from '../../dev/demo/wallets.mjs';
import { startSolana } from '../../dev/solana/start.mjs';

// Packages are those of dev/.
const require = createRequire(new URL('../../dev/package.json', import.meta.url));
const { privateKeyToAccount } = require('viem/accounts');

const BLOCK_SECONDS = 0.5;
// As many as the demo has, so that they share the state of the chain.
const PAYERS = 100;

/** Starts the world. */
export async function startWorld() {
  const started = [];
  const stop = async () => {
    while (started.length) await started.pop().stop();
  };
  try {
    const chain = await startChain({ payerCount: PAYERS, blockTime: BLOCK_SECONDS });
    started.push(chain);
    const solana = await startSolana({ payerCount: PAYERS });
    started.push(solana);
    const service = await startQuittance({ chains: [chain, solana], keyOf: ({ world }) => world.accounts.signers[0].key, access: 'keys' });
    started.push(service);
    return { chain, solana, service, shop: await openShop({ chain, solana, service }), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A merchant with an address on each network, and wallets that pay it. */
async function openShop({ chain, solana, service }) {
  const merchant = await openMerchant({ facilitator: service, name: 'Café Größenwahn & Sons' });
  const account = privateKeyToAccount(chain.world.accounts.merchant.key);
  await merchant.register(chain.world.network, account.address, (message) => account.signMessage({ message }));
  const { merchant: owner, accounts, network } = solana.world;
  await merchant.register(network, owner, (text) => signOnSolana(accounts.merchant.key, text));

  /** Opens an invoice that whatever pays its exact amount is for. */
  const order = (amount, more) => merchant.ask('POST', '/v1/invoices', { amount, matchAmount: true, ...more });
  /** A wallet sends that much. */
  const pay = (amount, payer = 0) => sendOnEvm({ chain, key: chain.world.payers[payer].key, to: account.address, amount });
  return { ...merchant, order, pay };
}
