// Runs the end-to-end harness of the x402 repository against Quittance on local chains: run.mjs CHECKOUT [options of the harness]. The
// harness knows two networks by name and takes where their nodes are from its environment.

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startChain } from '../../../dev/chain/start.mjs';
import { closeWhenAsked } from '../../../dev/lifetime.mjs';
import { startSolana } from '../../../dev/solana/start.mjs';

const BLOCK_SECONDS = 0.5;
const LOOK_AGAIN_MS = 500;
const END_DEADLINE_MS = 10_000;

// Before it lets Permit2 take the client's USDC, the harness looks at the balance of a token of its own, which it does not use on the
// routes that are bought here. This code answers every question with zero.
const OTHER_TOKEN = { address: '0xeED520980fC7C7B4eB379B96d61CEdea2423005a', code: '0x60206000f3' };

// What it buys unless told otherwise. Every client of the harness asks the public node of Solana's devnet and takes no other, and
// routes with `erc20ApprovalGasSponsoring` need that extension and the token above.
const OPTIONS = [
  '--testnet',
  '--families=evm',
  '--clients=fetch,axios,legacy-fetch,legacy-axios',
  '--servers=express,hono,legacy-express,legacy-hono',
  '--endpoints=/protected,/exact/evm/eip3009,/exact/evm/permit2,/exact/evm/permit2-eip2612GasSponsoring,/upto/evm/permit2,/upto/evm/permit2-eip2612GasSponsoring',
];

const [checkout, ...options] = process.argv.slice(2);
const started = [];
async function stop() {
  while (started.length) await started.pop().stop();
}

async function run() {
  const chain = await startChain({ blockTime: BLOCK_SECONDS });
  started.push(chain);
  await chain.rpc.call('anvil_setCode', [OTHER_TOKEN.address, OTHER_TOKEN.code]);
  const node = await startSolana({ payerCount: 1 });
  started.push(node);

  const [evm, svm] = [chain.world.accounts, node.world.accounts];
  const environment = {
    BASE_SEPOLIA_RPC_URL: chain.url,
    SOLANA_DEVNET_RPC_URL: node.url,
    // The harness itself, which lets Permit2 take the client's token and forbids it again.
    EVM_RPC_URL: chain.url,
    SVM_GENESIS: node.world.genesisHash,
    CLIENT_EVM_PRIVATE_KEY: evm.buyer.key,
    CLIENT_SVM_PRIVATE_KEY: svm.buyer.key,
    SERVER_EVM_ADDRESS: evm.merchant.address,
    SERVER_SVM_ADDRESS: svm.merchant.address,
    FACILITATOR_EVM_PRIVATE_KEY: evm.signers[0].key,
    FACILITATOR_SVM_PRIVATE_KEY: svm.signers[0].key,
  };
  const directory = mkdtempSync(join(tmpdir(), 'quittance-e2e-'));
  started.push({ stop: () => rmSync(directory, { recursive: true, force: true }) });
  const report = join(directory, 'report.json');
  return outcome(startHarness(report, environment), report);
}

/** Starts the harness with everything that it starts in a process group of its own, which is ended as a whole. */
function startHarness(report, environment) {
  const args = ['test', `--output-json=${report}`, ...(options.length ? options : OPTIONS), '--facilitators=quittance'];
  const harness = spawn('pnpm', args, { cwd: join(checkout, 'e2e'), env: { ...process.env, ...environment }, stdio: 'inherit', detached: true });
  const ended = new Promise((resolve) => harness.once('close', () => resolve(true)).once('error', () => resolve(true)));
  const signal = (name) => {
    try {
      process.kill(-harness.pid, name);
    } catch {
      // Nobody of them is left.
    }
  };
  started.push({
    async stop() {
      signal('SIGTERM');
      await Promise.race([ended, sleep(END_DEADLINE_MS)]);
      signal('SIGKILL');
    },
  });
  return ended;
}

/** What the harness wrote down. It does not end by itself, because a facilitator that it made for its servers outlives its last word. */
async function outcome(ended, report) {
  let over = false;
  ended.then(() => (over = true));
  for (;;) {
    const summary = summaryIn(report);
    if (summary) return summary.failed || !summary.passed ? 1 : 0;
    if (over) return 1;
    await sleep(LOOK_AGAIN_MS);
  }
}

function summaryIn(report) {
  try {
    return JSON.parse(readFileSync(report, 'utf8')).summary;
  } catch {
    return null;
  }
}

// Whoever interrupts a run has not seen it succeed.
process.exitCode = 1;
closeWhenAsked(stop);
try {
  process.exitCode = await run();
} finally {
  await stop();
}
