// Mints and token accounts, byte for byte as the token programs would write them. USDC must stand at an address whose key
// only Circle has, so accounts are put in place and not created by instructions.

import {
  AccountState,
  TOKEN_2022_PROGRAM_ADDRESS,
  findAssociatedTokenPda,
  getMintEncoder,
  getTokenEncoder,
} from '@solana-program/token-2022';

export const TOKEN_PROGRAM = 'TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA';
export const TOKEN_2022_PROGRAM = TOKEN_2022_PROGRAM_ADDRESS;

const LAMPORTS_PER_BYTE = 6_960;
const ACCOUNT_OVERHEAD_BYTES = 128;

const TRANSFER_FEE = { epoch: 0n, maximumFee: 1_000_000n, transferFeeBasisPoints: 100 };

const account = (program, data) => ({
  owner: program,
  data,
  lamports: (data.length + ACCOUNT_OVERHEAD_BYTES) * LAMPORTS_PER_BYTE,
});

/** A mint's account; `transferFee` makes the token keep one percent of each transfer. */
export function mintAccount({ program, decimals, transferFee }, { supply, authority }) {
  const config = {
    __kind: 'TransferFeeConfig',
    transferFeeConfigAuthority: authority,
    withdrawWithheldAuthority: authority,
    withheldAmount: 0n,
    olderTransferFee: TRANSFER_FEE,
    newerTransferFee: TRANSFER_FEE,
  };
  return account(
    program,
    getMintEncoder().encode({
      mintAuthority: authority,
      supply,
      decimals,
      isInitialized: true,
      freezeAuthority: authority,
      extensions: transferFee ? [config] : null,
    }),
  );
}

/** A token account with the extensions that the associated token program gives it. */
export function tokenAccount({ address, program, transferFee }, { owner, amount }) {
  const extensions = [
    { __kind: 'ImmutableOwner' },
    ...(transferFee ? [{ __kind: 'TransferFeeAmount', withheldAmount: 0n }] : []),
  ];
  return account(
    program,
    getTokenEncoder().encode({
      mint: address,
      owner,
      amount,
      delegate: null,
      state: AccountState.Initialized,
      isNative: null,
      delegatedAmount: 0n,
      closeAuthority: null,
      extensions: program === TOKEN_2022_PROGRAM ? extensions : null,
    }),
  );
}

/** Where the owner's associated token account is, whether or not it exists. */
export async function ataOf({ address, program }, owner) {
  const [ata] = await findAssociatedTokenPda({ mint: address, owner, tokenProgram: program });
  return ata;
}
