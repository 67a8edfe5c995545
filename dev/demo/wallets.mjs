// Wallets that send tokens and pay their own fees. They have never heard of us.

import { TOKEN_2022_PROGRAM_ADDRESS, getTransferCheckedInstruction } from '@solana-program/token-2022';
import {
  AccountRole,
  appendTransactionMessageInstruction,
  createSignableMessage,
  createTransactionMessage,
  getBase58Decoder,
  getBase64EncodedWireTransaction,
  getSignatureFromTransaction,
  pipe,
  setTransactionMessageFeePayerSigner,
  setTransactionMessageLifetimeUsingBlockhash,
  signTransactionMessageWithSigners,
} from '@solana/kit';
import { createWalletClient, erc20Abi, http, parseUnits, toHex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { solanaSigner } from '../solana/accounts.mjs';
import { TOKEN_PROGRAM, ataOf } from '../solana/tokens.mjs';

/** Sends USDC on an EVM chain, and returns the transaction. */
export async function sendOnEvm({ chain, key, to, amount }) {
  const account = privateKeyToAccount(key);
  await chain.rpc.call('anvil_setBalance', [account.address, toHex(10n ** 18n)]);
  const wallet = createWalletClient({ account, transport: http(chain.url) });
  const [address, value] = [chain.world.usdc, parseUnits(amount, 6)];
  return wallet.writeContract({ chain: null, address, abi: erc20Abi, functionName: 'transfer', args: [to, value] });
}

/** Signs a text with a key of Solana. */
export async function signOnSolana(key, text) {
  const signer = await solanaSigner(key);
  const [signatures] = await signer.signMessages([createSignableMessage(text)]);
  return getBase58Decoder().decode(signatures[signer.address]);
}

/** Sends USDC on Solana with the reference of a Solana Pay link, and returns the transaction. */
export async function sendOnSolana({ chain, key, to, amount, reference }) {
  const { rpc, world } = chain;
  const [signer, mint] = [await solanaSigner(key), world.mints.usdc];
  await rpc.call('surfnet_setAccount', [signer.address, { lamports: 1_000_000_000 }]);
  const transfer = getTransferCheckedInstruction(
    {
      source: await ataOf(mint, signer.address),
      mint: mint.address,
      destination: await ataOf(mint, to),
      authority: signer,
      amount: parseUnits(amount, 6),
      decimals: 6,
    },
    { programAddress: mint.program === TOKEN_PROGRAM ? TOKEN_PROGRAM : TOKEN_2022_PROGRAM_ADDRESS },
  );
  const instruction = { ...transfer, accounts: [...transfer.accounts, { address: reference, role: AccountRole.READONLY }] };
  const { value: latest } = await rpc.call('getLatestBlockhash', [{ commitment: 'confirmed' }]);
  const lifetime = { ...latest, lastValidBlockHeight: BigInt(latest.lastValidBlockHeight) };
  const message = pipe(
    createTransactionMessage({ version: 0 }),
    (message) => setTransactionMessageFeePayerSigner(signer, message),
    (message) => setTransactionMessageLifetimeUsingBlockhash(lifetime, message),
    (message) => appendTransactionMessageInstruction(instruction, message),
  );
  const signed = await signTransactionMessageWithSigners(message);
  await rpc.call('sendTransaction', [getBase64EncodedWireTransaction(signed), { encoding: 'base64' }]);
  return getSignatureFromTransaction(signed);
}
