// What the pages are about: the service on two local chains, merchants who are paid on them, and an operator.

import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { startChain } from '../../dev/chain/start.mjs';
import { command, openMerchant } from '../../dev/demo/merchant-account.mjs';
import { startReceiver } from '../../dev/demo/receiver.mjs';
import { startQuittance } from '../../dev/demo/service.mjs';
import { sendOnEvm, signOnSolana } from '../../dev/demo/wallets.mjs';
import { startSolana } from '../../dev/solana/start.mjs';

// Packages are those of dev/.
const require = createRequire(new URL('../../dev/package.json', import.meta.url));
const { privateKeyToAccount } = require('viem/accounts');

const WALLET = fileURLToPath(new URL('../../dev/wallet.mjs', import.meta.url));
const BLOCK_SECONDS = 0.5;
// As many as the demo has, so that they share the state of the chain.
const PAYERS = 100;

/** Starts the world. */
export async function startWorld() {
  const started = [];
  const stop = async () => {
    while (started.length) await started.pop().stop();
  };
  const add = async (starting) => {
    started.push(await starting);
    return started.at(-1);
  };
  try {
    const chain = await add(startChain({ payerCount: PAYERS, blockTime: BLOCK_SECONDS }));
    const solana = await add(startSolana({ payerCount: PAYERS }));
    const keyOf = ({ world }) => world.accounts.signers[0].key;
    const service = await add(startQuittance({ chains: [chain, solana], keyOf, access: 'keys' }));
    const receiver = await add(startReceiver());
    const shop = await openShop({ chain, service, name: 'Café Größenwahn & Sons', key: chain.world.accounts.merchant.key });
    const { merchant: owner, accounts, network } = solana.world;
    await shop.register(network, owner, (text) => signOnSolana(accounts.merchant.key, text));
    const rival = await openShop({ chain, service, name: 'A rival', key: chain.world.payers[9].key });
    const [operatorKey, providerKey] = [await keyFor(service, 'operator'), await keyFor(service, 'provider')];
    const settle = (invoice) => settleWith({ service, key: providerKey, payer: chain.world.payers[5].key, invoice });
    return { chain, solana, service, receiver, shop, rival, operatorKey, settle, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Opens an account, and returns its key. */
async function keyFor(service, scope) {
  const printed = await command(service, ['account', 'create', `The ${scope}`, '--scope', scope]);
  return /^API key\s+(\S+)/m.exec(printed)[1];
}

/** A merchant with an address on the chain, and wallets that pay it. */
async function openShop({ chain, service, name, key }) {
  const merchant = await openMerchant({ facilitator: service, name });
  const account = privateKeyToAccount(key);
  await merchant.register(chain.world.network, account.address, (message) => account.signMessage({ message }));
  /** Opens an invoice that whatever pays its exact amount is for. */
  const order = (amount, more) => merchant.ask('POST', '/v1/invoices', { amount, matchAmount: true, ...more });
  /** A wallet sends that much. */
  const pay = (amount, payer = 0) => sendOnEvm({ chain, key: chain.world.payers[payer].key, to: account.address, amount });
  return { ...merchant, order, pay };
}

/** Has an invoice settled that a client of x402 has signed for. */
async function settleWith({ service, key, payer, invoice }) {
  const requirements = invoice.accepts.find(({ network }) => network.startsWith('eip155:'));
  const words = [WALLET, 'authorize', JSON.stringify(requirements), '--key', payer];
  const { stdout } = await promisify(execFile)(process.execPath, words);
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  const answer = await (await fetch(`${service.url}/settle`, { method: 'POST', headers, body: stdout })).json();
  if (!answer.success) throw new Error(`The payment was not settled: ${JSON.stringify(answer)}`);
}
