// Payments built by hand, for what no real client does.

import {
  AccountRole,
  appendTransactionMessageInstructions,
  compileTransaction,
  createTransactionMessage,
  getTransactionEncoder,
  pipe,
  setTransactionMessageFeePayer,
  setTransactionMessageLifetimeUsingBlockhash,
  signBytes,
} from '@solana/kit';
import { getTransferCheckedInstruction } from '@solana-program/token-2022';
import { solanaSigner } from '../solana/accounts.mjs';
import { ataOf } from '../solana/tokens.mjs';
import { AMOUNT, BLOCKHASH, FEE_PAYER, MEMO, PAYER, PAY_TO, USDC } from './terms.mjs';

export const COMPUTE_BUDGET_PROGRAM = 'ComputeBudget111111111111111111111111111111';
export const MEMO_PROGRAM = 'MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr';
export const SYSTEM_PROGRAM = '11111111111111111111111111111111';
const LIGHTHOUSE_PROGRAM = 'L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95';

const u32 = (value) => Buffer.from(new Uint32Array([value]).buffer);
const u64 = (value) => Buffer.from(new BigUint64Array([BigInt(value)]).buffer);

const budget = (kind, value) => ({ programAddress: COMPUTE_BUDGET_PROGRAM, data: Buffer.concat([Buffer.from([kind]), value]) });
export const unitLimit = (units = 20_000) => budget(2, u32(units));
export const unitPrice = (microLamports = 1) => budget(3, u64(microLamports));
export const memo = (text = MEMO, accounts = []) => ({ programAddress: MEMO_PROGRAM, accounts, data: Buffer.from(text) });
/** An instruction of Lighthouse by its number in the program's LighthouseInstruction. */
export const guard = (opcode, accounts, ...rest) => ({ programAddress: LIGHTHOUSE_PROGRAM, accounts, data: Buffer.from([opcode, ...rest]) });
export const readonly = ({ address }) => ({ address, role: AccountRole.READONLY });
export const signing = ({ address }) => ({ address, role: AccountRole.READONLY_SIGNER });

/** The TransferChecked that the terms ask for, with whatever is to be wrong in it. */
export async function transfer({ mint = USDC, authority = PAYER, payTo = PAY_TO, amount = AMOUNT, source, destination } = {}) {
  const { programAddress, accounts, data } = getTransferCheckedInstruction(
    {
      source: source ?? (await ataOf(mint, authority.address)),
      mint: mint.address,
      destination: destination ?? (await ataOf(mint, payTo.address)),
      authority: authority.address,
      amount: BigInt(amount),
      decimals: mint.decimals,
    },
    { programAddress: mint.program },
  );
  const named = accounts.map(({ address, role }, i) => ({ address, role: i === 3 ? AccountRole.READONLY_SIGNER : role }));
  return { programAddress, accounts: named, data: Buffer.from(data) };
}

/** An unsigned transaction of these instructions. */
export function compiled(instructions, { version = 0, feePayer = FEE_PAYER } = {}) {
  return pipe(
    createTransactionMessage({ version }),
    (message) => setTransactionMessageFeePayer(feePayer.address, message),
    (message) => setTransactionMessageLifetimeUsingBlockhash({ blockhash: BLOCKHASH, lastValidBlockHeight: 0n }, message),
    (message) => appendTransactionMessageInstructions(instructions, message),
    compileTransaction,
  );
}

/** The wire form in base64, signed by these accounts in the places where their signatures belong. */
export async function signed(transaction, signers = [PAYER]) {
  const signatures = { ...transaction.signatures };
  for (const account of signers) signatures[account.address] = await signatureBy(account, transaction.messageBytes);
  return wire({ ...transaction, signatures });
}

/** An account's signature over these bytes. */
export async function signatureBy(account, bytes) {
  const { keyPair } = await solanaSigner(account.key);
  // A Buffer may lie at the start of a larger one, and then kit would sign all of that; a copy has only its own bytes.
  return signBytes(keyPair.privateKey, Uint8Array.from(bytes));
}

/** The wire form in base64. */
export const wire = (transaction) => Buffer.from(getTransactionEncoder().encode(transaction)).toString('base64');

/** A payment as the client builds it, with other instructions in the place of its own. */
export async function payment({ limit = unitLimit(), price = unitPrice(), transfer: move, notes = [memo()] } = {}, options) {
  return compiled([limit, price, move ?? (await transfer()), ...notes], options);
}
