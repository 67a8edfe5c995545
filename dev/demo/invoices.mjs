// The part of the demo in which a merchant opens invoices and wallets pay them with plain transfers, without asking anybody.

import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { createWalletClient, erc20Abi, http, parseUnits, toHex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';

const PATIENCE_MS = 30_000;

/** Opens an account for a merchant as an operator does, and returns what talks to the service with its key. */
export async function openMerchant({ facilitator, name }) {
  const words = ['account', 'create', name, '--scope', 'merchant', '--config', facilitator.configFile];
  const { stdout } = await promisify(execFile)(facilitator.executable, words, { env: facilitator.environment });
  const key = /^API key\s+(\S+)/m.exec(stdout)[1];

  async function ask(method, path, body) {
    const response = await fetch(facilitator.url + path, {
      method,
      headers: { authorization: `Bearer ${key}`, ...(body && { 'content-type': 'application/json' }) },
      body: body && JSON.stringify(body),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${method} ${path} was answered ${response.status}: ${JSON.stringify(answer)}`);
    return answer;
  }

  /** Proves control of an address with its key. */
  async function register(network, account) {
    const { id, challenge } = await ask('POST', '/v1/addresses', { network, address: account.address });
    return ask('POST', `/v1/addresses/${id}/proof`, { signature: await account.signMessage({ message: challenge }) });
  }

  async function until(invoice, status) {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const now = await ask('GET', `/v1/invoices/${invoice.id}`);
      if (now.status === status) return now;
      if (Date.now() > deadline) throw new Error(`Invoice ${invoice.id} is ${now.status}, not ${status}.`);
      await sleep(100);
    }
  }
  return { ask, register, until };
}

/** Sends USDC from a wallet that pays its own gas. */
async function send({ chain, key, to, amount }) {
  const account = privateKeyToAccount(key);
  await chain.rpc.call('anvil_setBalance', [account.address, toHex(10n ** 18n)]);
  const wallet = createWalletClient({ account, transport: http(chain.url) });
  const [address, value] = [chain.world.usdc, parseUnits(amount, 6)];
  return wallet.writeContract({ chain: null, address, abi: erc20Abi, functionName: 'transfer', args: [to, value] });
}

/** Tells how invoices are paid by wallets: at once, and in two parts. */
export async function payInvoices({ chain, facilitator, story }) {
  const { accounts, network, payers } = chain.world;
  const merchant = await openMerchant({ facilitator, name: 'A shop' });
  const account = privateKeyToAccount(accounts.merchant.key);
  await merchant.register(network, account);
  story.step('The merchant registers its address by signing a challenge, and opens an invoice for 0.25 USDC.');
  const first = await merchant.ask('POST', '/v1/invoices', { amount: '0.25', reserveAddress: true, description: 'Ten inferences' });
  story.details([
    ['invoice', first.id],
    ['for wallets', first.options[0].eip681],
    ['for servers', `X402-PayTo: ${first.headers['X402-PayTo']}`],
  ]);

  story.step('An ordinary wallet sends 0.10 USDC, and later the rest. It has never heard of us.');
  const half = await send({ chain, key: payers[3].key, to: account.address, amount: '0.10' });
  const begun = await merchant.until(first, 'underpaid');
  const rest = await send({ chain, key: payers[3].key, to: account.address, amount: begun.amountDue });
  const paid = await merchant.until(first, 'paid');
  story.details([
    ['transaction', `${half}  → ${begun.status}, ${begun.amountDue} USDC due`],
    ['transaction', `${rest}  → ${paid.status}`],
  ]);
  return 1;
}
