// The part of the demo in which wallets pay a merchant's invoices with plain transfers, without asking anybody.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { privateKeyToAccount } from 'viem/accounts';
import { command, openMerchant } from './merchant-account.mjs';
import { startReceiver } from './receiver.mjs';
import { sendOnEvm, sendOnSolana, signOnSolana } from './wallets.mjs';

const is = (status) => (invoice) => invoice.status === status;

/** Verifies a receipt with nothing but the published keys, and tells what it says. */
async function verifyOffline(facilitator, { receipt }) {
  const folder = mkdtempSync(join(tmpdir(), 'quittance-receipt-'));
  try {
    const [keys, file] = [join(folder, 'jwks.json'), join(folder, 'receipt')];
    writeFileSync(keys, await (await fetch(`${facilitator.url}/.well-known/jwks.json`)).text());
    writeFileSync(file, receipt);
    const printed = await command(facilitator, ['receipt', 'verify', file, '--jwks', keys, '--issuer', facilitator.url]);
    const { receiptId, payer, amount, invoice, finality } = JSON.parse(printed);
    return ['receipt', `${receiptId}, verified offline: ${payer} paid ${amount} for ${invoice}, ${finality}`];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** An invoice paid in two parts by a wallet, with webhook and receipt. */
async function payInParts({ merchant, receiver, facilitator, chain, account, story }) {
  story.step('The merchant registers its address by signing a challenge, and opens an invoice for 0.25 USDC.');
  const invoice = await merchant.ask('POST', '/v1/invoices', {
    amount: '0.25', networks: [chain.world.network], reserveAddress: true, description: 'Ten inferences',
  });
  story.details([
    ['invoice', invoice.id],
    ['for people', invoice.links.page],
    ['for wallets', invoice.options[0].eip681],
    ['for servers', `X402-PayTo: ${invoice.headers['X402-PayTo']}`],
  ]);

  story.step('An ordinary wallet sends 0.10 USDC, and later the rest. It has never heard of us.');
  const { key } = chain.world.payers[3];
  const half = await sendOnEvm({ chain, key, to: account.address, amount: '0.10' });
  const begun = await merchant.until(invoice, is('underpaid'));
  const rest = await sendOnEvm({ chain, key, to: account.address, amount: begun.amountDue });
  const paid = await merchant.until(invoice, (now) => is('paid')(now) && now.receipts.length === 2);
  const event = await receiver.told('invoice.paid', invoice.id);
  const receipts = await Promise.all(paid.receipts.map((receipt) => verifyOffline(facilitator, receipt)));
  story.details([
    ['transaction', `${half}  → ${begun.status}, ${begun.amountDue} USDC due`],
    ['transaction', `${rest}  → ${paid.status}`],
    ['webhook', `${event.type}, signed, at ${event.timestamp}`],
    ...receipts,
  ]);
}

/** An invoice that a transfer pays because its payer says so, with a signature. */
async function payByProof({ merchant, facilitator, chain, account, story }) {
  story.step('A wallet pays an invoice with a transfer that names nothing, and its owner shows the transaction with a signature.');
  const invoice = await merchant.ask('POST', '/v1/invoices', { amount: '0.05', networks: [chain.world.network] });
  const payer = privateKeyToAccount(chain.world.payers[4].key);
  const transaction = await sendOnEvm({ chain, key: chain.world.payers[4].key, to: account.address, amount: '0.05' });
  const text = [
    `${facilitator.url} asks you to show that a payment was made by you.`,
    'Signing this message moves no money and permits nobody to move any.',
    'It says that this transaction pays this invoice.',
    '',
    `Invoice: ${invoice.id}`,
    `Network: ${chain.world.network}`,
    `Transaction: ${transaction}`,
  ].join('\n');
  const body = JSON.stringify({ transaction, signature: await payer.signMessage({ message: text }) });
  const present = () =>
    fetch(`${facilitator.url}/i/${invoice.id}/proof`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  const deadline = Date.now() + 30_000;
  let answer = await present();
  // Until the block with the transfer is read, there is nothing to show.
  while (!answer.ok && Date.now() < deadline) answer = await present();
  if (!answer.ok) throw new Error(`The proof was answered ${answer.status}: ${await answer.text()}`);
  const paid = await merchant.until(invoice, (now) => is('paid')(now) && now.receipts.length === 1);
  story.details([
    ['transaction', `${transaction}  → ${paid.status}, because its payer said so`],
    await verifyOffline(facilitator, paid.receipts[0]),
  ]);
}

/** An invoice that can be paid for a few seconds only. */
const openBriefly = ({ merchant, chain }) =>
  merchant.ask('POST', '/v1/invoices', { amount: '0.07', networks: [chain.world.network], expiresIn: 5, grace: 0 });

/** An invoice that is paid too late: the transfer pays nothing by itself, and the merchant says what it was for. */
async function payLate({ merchant, receiver, chain, account, story }, invoice) {
  story.step('A wallet pays an invoice whose time is over. The merchant finds the transfer, and says what it was for.');
  const { status } = await merchant.until(invoice, is('expired'));
  const transaction = await sendOnEvm({ chain, key: chain.world.payers[3].key, to: account.address, amount: '0.07' });
  const stray = await merchant.unmatched(transaction);
  await merchant.ask('POST', `/v1/transfers/${stray.id}/assign`, { invoice: invoice.id });
  const late = await merchant.until(invoice, ({ amountLate }) => amountLate === '0.07');
  const event = await receiver.told('invoice.paid_late', invoice.id);
  story.details([
    ['transaction', `${transaction}  → matched ${stray.matched}`],
    ['invoice', `${status}, with ${late.amountLate} USDC that came too late, to be sent back or honoured`],
    ['webhook', `${event.type}, signed, at ${event.timestamp}`],
  ]);
}

/** An invoice paid by a Solana Pay link. */
async function payOnSolana({ merchant, facilitator, chain, story }) {
  story.step('A wallet on Solana follows the Solana Pay link of an invoice.');
  const { merchant: owner, accounts, network, payers } = chain.world;
  await merchant.register(network, owner, (text) => signOnSolana(accounts.merchant.key, text));
  const invoice = await merchant.ask('POST', '/v1/invoices', { amount: '0.15', networks: [network] });
  const [{ reference, solanaPay }] = invoice.options;
  const transaction = await sendOnSolana({ chain, key: payers[5].key, to: owner, amount: '0.15', reference });
  const paid = await merchant.until(invoice, (now) => is('paid')(now) && now.receipts.length === 1);
  story.details([
    ['for wallets', solanaPay],
    ['transaction', `${transaction}  → ${paid.status}`],
    await verifyOffline(facilitator, paid.receipts[0]),
  ]);
}

/** Tells how invoices are paid by wallets, and returns how many were in time. */
export async function payInvoices({ chain, solana, facilitator, story, started }) {
  const merchant = await openMerchant({ facilitator, name: 'A shop' });
  const receiver = await started.add(startReceiver());
  receiver.trust((await merchant.ask('POST', '/v1/webhooks', { url: receiver.url })).secret);
  const account = privateKeyToAccount(chain.world.accounts.merchant.key);
  await merchant.register(chain.world.network, account.address, (message) => account.signMessage({ message }));
  const scene = { merchant, receiver, facilitator, chain, account, story };
  await payInParts(scene);
  // A second address, because the first is kept for the first invoice until its time is over.
  const second = privateKeyToAccount(chain.world.accounts.buyer.key);
  await merchant.register(chain.world.network, second.address, (message) => second.signMessage({ message }));
  const brief = await openBriefly(scene);
  await payByProof({ ...scene, account: second });
  await payLate({ ...scene, account: second }, brief);
  if (solana) await payOnSolana({ ...scene, chain: solana });
  return solana ? 3 : 2;
}
