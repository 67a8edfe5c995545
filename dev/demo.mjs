// The demo that `make demo` runs: local chains, the built service, a merchant and its customers, told step by step.

import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { privateKeyToAccount } from 'viem/accounts';
import { buyV1 } from './buyer-v1.mjs';
import { buy } from './buyer.mjs';
import { startChain } from './chain/start.mjs';
import { networkOf } from './chain/networks.mjs';
import { payInvoices } from './demo/invoices.mjs';
import { payAndCheck } from './demo/payment.mjs';
import { startQuittance } from './demo/service.mjs';
import { closeWhenAsked } from './lifetime.mjs';
import { startMerchantV1 } from './merchant-v1.mjs';
import { startMerchant } from './merchant.mjs';
import { startReferenceFacilitator } from './reference-facilitator.mjs';
import { safeSigner } from './safe-signer.mjs';
import { solanaSigner } from './solana/accounts.mjs';
import { startSolana } from './solana/start.mjs';
import { PATH, PRICE } from './shop.mjs';

const HELP = `node dev/demo.mjs [options]

  --once                end after the payments; exit code 0 if all of them went well, 1 otherwise
  --sei                 a second chain, Sei, takes part
  --solana              a Solana node takes part; it is there for Linux on x64 with glibc only
  --block-time SECONDS  of the local chains (default 1)
  --reference           use the TypeScript reference facilitator in the place of Quittance

The binary is QUITTANCE_BIN, or release or debug in CARGO_TARGET_DIR or ../target.`;

const OPTIONS = {
  once: { type: 'boolean' },
  sei: { type: 'boolean' },
  solana: { type: 'boolean' },
  'block-time': { type: 'string', default: '1' },
  reference: { type: 'boolean' },
  help: { type: 'boolean' },
};

const BASE_SEPOLIA = 84532;
const SEI = 1329;

/** What was started, so that it can be ended in the opposite order. */
function startedThings() {
  const things = [];
  let stopping = false;
  return {
    async add(starting) {
      const thing = await starting;
      things.push(thing);
      return thing;
    },
    async stop() {
      stopping = true;
      while (things.length) await things.pop().stop();
    },
    stopping: () => stopping,
  };
}

/** Numbers the steps and lines up their details. */
function narrator() {
  let number = 0;
  const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;
  const started = performance.now();
  return {
    step: (text) => console.log(`\n${++number}. ${text}`),
    details: (lines) => lines.forEach(([label, value]) => console.log(`   ${label.padEnd(12)} ${value}`)),
    elapsed: () => seconds(started),
  };
}

const signerOf = (chain) => chain.world.accounts.signers[0];

async function startFacilitator({ chains, reference }) {
  if (!reference) return startQuittance({ chains, keyOf: (chain) => signerOf(chain).key });
  const networks = chains.map((chain) => ({ network: chain.world.network, rpc: chain.url, key: signerOf(chain).key }));
  return startReferenceFacilitator({ networks });
}

async function tell({ started, story, blockTime, withSei, withSolana, reference }) {
  const chainIds = withSei ? [BASE_SEPOLIA, SEI] : [BASE_SEPOLIA];
  const chains = [];
  for (const chainId of chainIds) {
    const chain = await started.add(startChain({ chainId, blockTime }));
    chains.push(chain);
    story.step(`A local ${networkOf(chainId).label} runs at ${chain.url}, with Circle's USDC contract and a block every ${blockTime} s.`);
  }
  const [base, sei] = chains;
  const solana = withSolana && (await started.add(startSolana()));
  if (solana) {
    chains.push(solana);
    story.step(`A local Solana node runs at ${solana.url}, with the real token programs.`);
  }
  const { accounts, safe } = base.world;

  const facilitator = await started.add(startFacilitator({ chains, reference }));
  story.step(`${reference ? 'The reference facilitator' : 'Quittance'} is ready at ${facilitator.url}.`);
  if (facilitator.operationsUrl) {
    story.details([['operations', `${facilitator.operationsUrl}/metrics`], ['log', facilitator.logFile]]);
  }

  const networks = chains.map((chain) => chain.world.network);
  const recipients = chains.map((chain) => chain.world.merchant);
  const merchant = await started.add(startMerchant({ facilitator: facilitator.url, networks, payTo: recipients }));
  const sellV1 = ({ v1Network: network, merchant: payTo }) => startMerchantV1({ facilitator: facilitator.url, network, payTo });
  const merchantV1 = await started.add(sellV1(base.world));
  const url = merchant.url + PATH;
  const unpaid = await fetch(url);
  story.step(`A merchant sells inferences at ${url} for ${PRICE}. Asked without payment, it answers ${unpaid.status} ${unpaid.statusText}.`);

  const owner = privateKeyToAccount(accounts.safeOwner.key);
  const buyer = privateKeyToAccount(accounts.buyer.key);
  const payments = [
    {
      text: 'An ordinary account pays: it signs an authorization and owns no gas of its own.',
      chain: base,
      payer: base.world.payers[0].address,
      purchase: () => buy({ url, network: base.world.network, signer: privateKeyToAccount(base.world.payers[0].key) }),
    },
    {
      text: 'A Safe contract wallet pays: its owner signs, and the wallet vouches for the signature (EIP-1271).',
      chain: base,
      payer: safe,
      purchase: () => buy({ url, network: base.world.network, signer: safeSigner(safe, owner) }),
    },
    {
      text: 'A client and a merchant of x402 version 1 do business through the same facilitator.',
      chain: base,
      payer: buyer.address,
      purchase: () => buyV1({ url: merchantV1.url + PATH, network: base.world.v1Network, key: accounts.buyer.key }),
    },
    sei && {
      text: 'The same merchant is paid on the second chain, Sei.',
      chain: sei,
      payer: buyer.address,
      purchase: () => buy({ url, network: sei.world.network, signer: buyer }),
    },
    ...(solana ? await solanaPayments({ started, solana, facilitator: facilitator.url, url, sellV1 }) : []),
  ].filter(Boolean);
  for (const { text, ...payment } of payments) {
    story.step(text);
    try {
      story.details(await payAndCheck({ signer: signerOf(payment.chain).address, ...payment }));
    } catch (error) {
      throw new Error([error.message, facilitator.lastWords?.()].filter(Boolean).join('\n'), { cause: error });
    }
  }

  const invoices = reference ? 0 : await payInvoices({ chain: base, solana, facilitator, story, started });

  const counted = `${payments.length} payments were made and checked on chain, and ${invoices} invoices were paid by wallets.`;
  console.log(`\n${counted} All of it took ${story.elapsed()}.`);
  return { facilitator, url };
}

/** What is bought on Solana, besides from the merchant at `url` from two others. */
async function solanaPayments({ started, solana, facilitator, url, sellV1 }) {
  const { world, url: rpc } = solana;
  const asset = world.mints.token2022.address;
  const payTo = world.merchant;
  const forToken = await started.add(startMerchant({ facilitator, networks: [world.network], payTo, asset }));
  const merchantV1 = await started.add(sellV1(world));
  const payer = async (number) => ({ network: world.network, rpc, signer: await solanaSigner(world.payers[number].key) });
  return [
    {
      text: 'The same merchant is paid on Solana.',
      chain: solana,
      payer: world.payers[0].address,
      purchase: async () => buy({ url, ...(await payer(0)) }),
    },
    {
      text: 'A merchant on Solana takes a token of the newer token program (Token-2022).',
      chain: solana,
      payer: world.payers[1].address,
      token: 'token2022',
      purchase: async () => buy({ url: forToken.url + PATH, asset, ...(await payer(1)) }),
    },
    {
      text: 'A client and a merchant of x402 version 1 do business on Solana.',
      chain: solana,
      payer: world.payers[2].address,
      purchase: () => buyV1({ url: merchantV1.url + PATH, network: world.v1Network, key: world.payers[2].key, rpc }),
    },
  ];
}

function invite({ facilitator, url }) {
  const commands = [
    [`curl -i ${url}`, 'the offer: 402 and a PAYMENT-REQUIRED header'],
    [`node dev/buyer.mjs --url ${url}`, 'pay as an ordinary account'],
    [`node dev/buyer.mjs --safe --url ${url}`, 'pay as the Safe'],
    [`curl ${facilitator.url}/supported`, 'what the facilitator can settle'],
    facilitator.operationsUrl && [`curl ${facilitator.operationsUrl}/metrics`, 'its metrics'],
  ].filter(Boolean);
  const width = Math.max(...commands.map(([command]) => command.length));
  console.log('\nEverything keeps running until Ctrl-C. To try it:');
  for (const [command, purpose] of commands) console.log(`  ${command.padEnd(width)}   ${purpose}`);
}

async function main() {
  const { values } = parseArgs({ options: OPTIONS });
  if (values.help) return console.log(HELP);

  const started = startedThings();
  closeWhenAsked(started.stop);
  // Whoever interrupts the payments has not seen them succeed.
  process.exitCode = 1;
  try {
    const scene = await tell({
      started,
      story: narrator(),
      blockTime: Number(values['block-time']),
      withSei: values.sei,
      withSolana: values.solana,
      reference: values.reference,
    });
    process.exitCode = 0;
    if (!values.once) {
      invite(scene);
      await scene.facilitator.exited;
      if (!started.stopping()) throw new Error('The facilitator ended by itself.');
    }
  } catch (error) {
    process.exitCode = 1;
    if (!started.stopping()) console.error(`\n${error.message}`);
  }
  await started.stop();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
