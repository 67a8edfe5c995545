// What stands in a transaction, in the words of the vectors.

import { getBase58Decoder, getCompiledTransactionMessageDecoder, getTransactionDecoder } from '@solana/kit';
import { createHash } from 'node:crypto';
import { TOKEN_2022_PROGRAM, TOKEN_PROGRAM } from '../solana/tokens.mjs';
import { MEMO_PROGRAM } from './craft.mjs';

const TOKEN_PROGRAMS = [TOKEN_PROGRAM, TOKEN_2022_PROGRAM];

/** Reads a payment that follows the scheme; what a refused one holds is for the verifier to find out. */
export function decoded(base64) {
  const { messageBytes, signatures } = getTransactionDecoder().decode(Buffer.from(base64, 'base64'));
  const { staticAccounts, lifetimeToken, instructions } = getCompiledTransactionMessageDecoder().decode(messageBytes);
  const data = instructions.map((instruction) => Buffer.from(instruction.data ?? []));
  const program = (instruction) => staticAccounts[instruction.programAddressIndex];

  const at = instructions.findIndex((instruction) => TOKEN_PROGRAMS.includes(program(instruction)));
  const [source, mint, destination, payer] = instructions[at].accountIndices.map((index) => staticAccounts[index]);
  const memo = instructions.findIndex((instruction) => program(instruction) === MEMO_PROGRAM);
  return {
    messageSha256: createHash('sha256').update(messageBytes).digest('base64'),
    payer,
    payerSignature: getBase58Decoder().decode(signatures[payer]),
    feePayer: staticAccounts[0],
    amount: data[at].readBigUInt64LE(1).toString(),
    decimals: data[at][9],
    mint,
    tokenProgram: program(instructions[at]),
    source,
    destination,
    memo: memo < 0 ? null : data[memo].toString('utf8'),
    computeUnitLimit: data[0].readUInt32LE(1),
    computeUnitPrice: data[1].readBigUInt64LE(1).toString(),
    blockhash: lifetimeToken,
    instructions: instructions.length,
  };
}
