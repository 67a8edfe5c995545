// What a merchant does with its key: registers addresses, opens invoices, and waits until they are paid.

import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const PATIENCE_MS = 30_000;

/** Runs another command of the service's binary on its configuration, and returns what it printed. */
export async function command(facilitator, words) {
  const configured = [...words, ...(words[0] === 'receipt' ? [] : ['--config', facilitator.configFile])];
  const { stdout } = await promisify(execFile)(facilitator.executable, configured, { env: facilitator.environment });
  return stdout;
}

/** Opens an account for a merchant as an operator does, and returns what talks to the service with its key. */
export async function openMerchant({ facilitator, name }) {
  const key = /^API key\s+(\S+)/m.exec(await command(facilitator, ['account', 'create', name, '--scope', 'merchant']))[1];

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

  /** Proves control of an address; `sign` signs a text with its key. */
  async function register(network, address, sign) {
    const { id, challenge } = await ask('POST', '/v1/addresses', { network, address });
    return ask('POST', `/v1/addresses/${id}/proof`, { signature: await sign(challenge) });
  }

  /** Waits until an invoice, or what it says, is as wanted. */
  async function until(invoice, wanted) {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const now = await ask('GET', `/v1/invoices/${invoice.id}`);
      if (wanted(now)) return now;
      if (Date.now() > deadline) throw new Error(`Invoice ${invoice.id} is ${now.status} after ${PATIENCE_MS / 1000} s.`);
      await sleep(100);
    }
  }

  /** Waits until a transfer has arrived that pays nothing, and returns it. */
  async function unmatched(transaction) {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const { transfers } = await ask('GET', '/v1/transfers?matched=false');
      const found = transfers.find((transfer) => transfer.transaction === transaction);
      if (found) return found;
      if (Date.now() > deadline) throw new Error(`Transfer ${transaction} was not found in ${PATIENCE_MS / 1000} s.`);
      await sleep(100);
    }
  }
  return { key, ask, register, until, unmatched };
}
