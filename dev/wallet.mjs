// A wallet on an EVM chain, for docs/API.md and whoever tries its calls. The key is WALLET_KEY or --key.
//
//   node dev/wallet.mjs address                         the wallet's address
//   node dev/wallet.mjs sign TEXT                       a signature over a text (EIP-191)
//   node dev/wallet.mjs authorize REQUIREMENTS [OFFER]  what a resource server sends to /verify and /settle (x402 version 2, EIP-3009);
//                                                       OFFER has `resource` and `extensions` as its 402 has them
//   node dev/wallet.mjs send TOKEN TO UNITS             sends tokens over the local chain at RPC, and prints the transaction
//   node dev/wallet.mjs pay LINK                        does what a payment link asks for (EIP-681), over the same

import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createWalletClient, erc20Abi, http, toHex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { connect } from './chain/rpc.mjs';
import { fail } from './lifetime.mjs';

const AUTHORIZATION = ['from', 'to', 'value', 'validAfter', 'validBefore', 'nonce'];
const TYPES = { from: 'address', to: 'address', value: 'uint256', validAfter: 'uint256', validBefore: 'uint256', nonce: 'bytes32' };

/** Accepts requirements, repeats what else the 402 says, and returns the body for the facilitator. */
export async function authorize(account, requirements, offer = {}) {
  const { network, asset, amount, payTo, maxTimeoutSeconds, extra } = requirements;
  const authorization = {
    from: account.address,
    to: payTo,
    value: amount,
    validAfter: '0',
    validBefore: String(Math.floor(Date.now() / 1000) + maxTimeoutSeconds),
    nonce: toHex(randomBytes(32)),
  };
  const signature = await account.signTypedData({
    domain: { name: extra.name, version: extra.version, chainId: Number(network.split(':')[1]), verifyingContract: asset },
    types: { TransferWithAuthorization: AUTHORIZATION.map((name) => ({ name, type: TYPES[name] })) },
    primaryType: 'TransferWithAuthorization',
    message: authorization,
  });
  const paymentPayload = { x402Version: 2, ...offer, accepted: requirements, payload: { signature, authorization } };
  return { x402Version: 2, paymentPayload, paymentRequirements: requirements };
}

/** What a payment link asks for: token, recipient and units. */
export function asked(link) {
  const { token, query } = /^ethereum:(?<token>0x[0-9a-fA-F]{40})@\d+\/transfer\?(?<query>.+)$/.exec(link)?.groups ?? {};
  const said = new URLSearchParams(query);
  if (!said.has('address') || !said.has('uint256')) throw new Error(`"${link}" is no link for the transfer of a token.`);
  return [token, said.get('address'), said.get('uint256')];
}

/** Sends tokens, with gas that the local chain gives away. */
async function send(account, [address, to, units]) {
  const url = process.env.RPC;
  await connect(url).call('anvil_setBalance', [account.address, toHex(10n ** 18n)]);
  const wallet = createWalletClient({ account, transport: http(url) });
  return wallet.writeContract({ chain: null, address, abi: erc20Abi, functionName: 'transfer', args: [to, BigInt(units)] });
}

async function main() {
  const { values, positionals } = parseArgs({ options: { key: { type: 'string' } }, allowPositionals: true });
  const [verb, ...words] = positionals;
  const account = privateKeyToAccount(values.key ?? process.env.WALLET_KEY);
  const verbs = {
    address: () => account.address,
    sign: () => account.signMessage({ message: words[0] }),
    authorize: async () => JSON.stringify(await authorize(account, ...words.map((word) => JSON.parse(word)))),
    send: () => send(account, words),
    pay: () => send(account, asked(words[0])),
  };
  if (!verbs[verb]) throw new Error('node dev/wallet.mjs address | sign TEXT | authorize REQUIREMENTS [OFFER] | send TOKEN TO UNITS | pay LINK');
  console.log(await verbs[verb]());
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main().catch(fail);
