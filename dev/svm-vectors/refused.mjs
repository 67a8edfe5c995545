// Payments that must be refused, each wrong in one thing. The rows are those of the list of bad input.

import { AccountRole, getBase58Encoder } from '@solana/kit';
import { TOKEN_2022_PROGRAM, ataOf } from '../solana/tokens.mjs';
import { SYSTEM_PROGRAM, compiled, guard, memo, payment, readonly, signatureBy, signed, signing, transfer, unitLimit, unitPrice, wire } from './craft.mjs';
import { AMOUNT, FEE_PAYER, OTHER_SIGNER, PAYER, PAY_TO, STRANGER, TOKEN_2022, USDC, request, requestV1, requirements, requirementsV1 } from './terms.mjs';

const PAYLOAD = 'invalid_exact_svm_payload';
const UNDECODABLE = `${PAYLOAD}_transaction_could_not_be_decoded`;
const LENGTH = `${PAYLOAD}_transaction_instructions_length`;
const LIMIT = `${PAYLOAD}_transaction_instructions_compute_limit_instruction`;
const PRICE = `${PAYLOAD}_transaction_instructions_compute_price_instruction`;
const NO_TRANSFER = `${PAYLOAD}_no_transfer_instruction`;
const SIGNATURE = `${PAYLOAD}_signature_invalid`;
const OUR_FUNDS = `${PAYLOAD}_transaction_fee_payer_transferring_funds`;
const OUR_ACCOUNT = `${PAYLOAD}_transaction_fee_payer_included_in_instruction_accounts`;

const CLOCK = { address: 'SysvarC1ock11111111111111111111111111111111' };
const ATA_PROGRAM = 'ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL';
const PACKET_BYTES = 1_232;

const terms = requirements();
const termsV1 = requirementsV1();

const refused = (row, name, verdict, body) => ({ row, name, request: body, verdict });
const v2 = (row, name, verdict, transaction, asked = terms) => refused(row, name, verdict, request(asked, transaction));
const v1 = (row, name, verdict, transaction, asked = termsV1) => refused(row, name, verdict, requestV1(asked, transaction));

export async function refusedCases() {
  return (
    await Promise.all([
      encodings(), messages(), signatures(), feePayers(), computeBudgets(), transfers(), furtherInstructions(), memos(),
    ])
  ).flat();
}

/** What is not the base64 of one transaction. */
async function encodings() {
  const good = await signed(await payment());
  const bytes = Buffer.from(good, 'base64');
  return [
    v2(62, 'a space in the base64', UNDECODABLE, `${good.slice(0, 40)} ${good.slice(40)}`),
    v2(62, 'a line break in the base64', UNDECODABLE, `${good.slice(0, 76)}\n${good.slice(76)}`),
    v2(62, 'the alphabet of URLs', UNDECODABLE, good.replaceAll('+', '-').replaceAll('/', '_')),
    v2(62, 'no padding', UNDECODABLE, good.replace(/=+$/, '')),
    v2(62, 'a byte behind the transaction', UNDECODABLE, Buffer.concat([bytes, Buffer.alloc(1)]).toString('base64')),
    v2(63, 'nothing', UNDECODABLE, ''),
    v2(63, 'one byte', UNDECODABLE, 'AA=='),
    v2(63, 'the last byte is missing', UNDECODABLE, bytes.subarray(0, -1).toString('base64')),
    v2(63, 'one byte more than a packet carries', UNDECODABLE, await tooLong()),
  ];
}

async function tooLong() {
  for (let length = 700; ; length++) {
    const base64 = await signed(await payment({ notes: [memo('m'.repeat(length))] }));
    if (Buffer.from(base64, 'base64').length === PACKET_BYTES + 1) return base64;
  }
}

/** Messages that contradict themselves. The payer signed each as it is. */
async function messages() {
  const base = await payment();
  const changed = (change) => {
    const messageBytes = change(Buffer.from(base.messageBytes));
    return signed({ ...base, messageBytes });
  };
  const at = layout(base.messageBytes);
  const byte = (offset, value) => (bytes) => ((bytes[offset] = value), bytes);
  return [
    v2(64, 'a program that is no account of the message', UNDECODABLE, await changed(byte(at.firstProgram, 255))),
    v2(64, 'an account of an instruction that is none of the message', UNDECODABLE, await changed(byte(at.transferAccounts, 255))),
    v2(64, 'more signatures required than accounts exist', UNDECODABLE, await changed(byte(at.requiredSignatures, 255))),
    v2(64, 'one signature required, two given', UNDECODABLE, await changed(byte(at.requiredSignatures, 1))),
    v2(64, 'no accounts', UNDECODABLE, await changed((bytes) => Buffer.concat([bytes.subarray(0, at.accountCount), Buffer.from([0]), bytes.subarray(at.blockhash)]))),
    v2(64, 'an account that comes twice', UNDECODABLE, await changed((bytes) => (bytes.copy(bytes, at.account(7), at.account(6), at.account(7)), bytes))),
    v2(64, 'a byte behind the message', UNDECODABLE, await changed((bytes) => Buffer.concat([bytes, Buffer.alloc(1)]))),
    v2(65, 'a message of version 1', UNDECODABLE, await changed(byte(at.version, 0x81))),
    v2(66, 'a lookup table', 'invalid_exact_svm_smart_wallet_alt_resolution_not_available', await changed(withLookupTable)),
    v2(66, 'a lookup table, and no signature', SIGNATURE, wire({ ...base, messageBytes: withLookupTable(Buffer.from(base.messageBytes)) })),
    v2(66, 'a lookup table that is cut off', UNDECODABLE, await changed((bytes) => withLookupTable(bytes).subarray(0, -1))),
    v2(66, 'a lookup table out of which nothing is taken', UNDECODABLE, await changed((bytes) => withLookupTable(bytes, []))),
    v1(66, 'version 1, a lookup table', UNDECODABLE, await changed(withLookupTable)),
  ];
}

/** Where things stand in the message of a payment: eight accounts, two compute budget instructions, the transfer. */
function layout(bytes) {
  const accountCount = 4;
  const account = (i) => accountCount + 1 + 32 * i;
  const blockhash = account(bytes[accountCount]);
  const firstProgram = blockhash + 32 + 1;
  // Program, number of accounts, length of the data, data: five bytes for the limit and nine for the price.
  const transferProgram = firstProgram + 3 + 5 + 3 + 9;
  return { version: 0, requiredSignatures: 1, accountCount, account, blockhash, firstProgram, transferAccounts: transferProgram + 2 };
}

// The last byte of a message counts its tables: this one names one account, which no instruction uses.
function withLookupTable(bytes, taken = [0]) {
  const key = getBase58Encoder().encode(STRANGER.address);
  return Buffer.concat([bytes.subarray(0, -1), Buffer.from([1]), Buffer.from(key), Buffer.from([taken.length, ...taken, 0])]);
}

/** Payments that the payer did not sign, or not alone. */
async function signatures() {
  const base = await payment();
  const withSignature = (signature) => wire({ ...base, signatures: { ...base.signatures, [PAYER.address]: signature } });
  const third = await payment({ notes: [memo('m', [signing(STRANGER)])] });
  return [
    v2(67, 'no signature', SIGNATURE, wire(base)),
    v2(67, 'a signature of zeros', SIGNATURE, withSignature(new Uint8Array(64))),
    v2(67, 'a signature of any bytes', SIGNATURE, withSignature(new Uint8Array(64).fill(9))),
    v2(67, 'the signature of another key', SIGNATURE, withSignature(await signatureBy(STRANGER, base.messageBytes))),
    v2(67, 'the signature over another message', SIGNATURE, withSignature(await signatureBy(PAYER, (await payment({ notes: [] })).messageBytes))),
    v2(69, 'three signatures', `${PAYLOAD}_excessive_signers`, await signed(third, [PAYER, STRANGER])),
    v1(67, 'version 1, the signature of another key', SIGNATURE, withSignature(await signatureBy(STRANGER, base.messageBytes))),
  ];
}

/** Fees that we would pay for others, and accounts of ours in their instructions. */
async function feePayers() {
  const by = async (feePayer) => signed(await payment({}, { feePayer }));
  const from = async (authority) => payment({ transfer: await transfer({ authority }) });
  const listed = async (account) => signed(await payment({ notes: [memo('m', [readonly(account)])] }));
  const guarded = async (account) => signed(await payment({ notes: [guard(9, [readonly(account)], 0, 2, ...Buffer.alloc(8), 4)] }));
  const writing = async (account) => signed(await payment({ notes: [guard(0, [readonly(account)], 0, 0, 0, 0)] }));
  const asked = (feePayer) => ({ ...terms, extra: { feePayer } });
  return [
    v2(68, 'the terms name no fee payer', `${PAYLOAD}_missing_fee_payer`, await by(FEE_PAYER), asked(undefined)),
    v2(68, 'the terms name a fee payer that is no text', `${PAYLOAD}_missing_fee_payer`, await by(FEE_PAYER), asked(1)),
    v2(68, 'the fee payer of another facilitator', 'invalid_exact_svm_fee_payer_not_managed_by_facilitator', await by(STRANGER), asked(STRANGER.address)),
    v2(68, 'another fee payer than the terms name', 'invalid_exact_svm_fee_payer_mismatch', await by(STRANGER)),
    v2(68, 'another fee payer of ours than the terms name', 'invalid_exact_svm_fee_payer_mismatch', await by(OTHER_SIGNER)),
    v2(68, 'the payer pays the fee', 'invalid_exact_svm_fee_payer_mismatch', await by(PAYER)),
    v1(68, 'version 1, the fee payer of another facilitator', 'fee_payer_not_managed_by_facilitator', await by(STRANGER), { ...termsV1, extra: { feePayer: STRANGER.address } }),
    v2(70, "the fee payer's own tokens", OUR_FUNDS, await signed(await from(FEE_PAYER), [])),
    v2(70, 'the tokens of another signer of ours', OUR_FUNDS, await signed(await from(OTHER_SIGNER), [OTHER_SIGNER])),
    v1(70, "version 1, the fee payer's own tokens", OUR_FUNDS, await signed(await from(FEE_PAYER), [])),
    v2(71, 'the fee payer among the accounts of a memo', OUR_ACCOUNT, await listed(FEE_PAYER)),
    v2(71, 'another signer of ours among the accounts of a memo', OUR_ACCOUNT, await listed(OTHER_SIGNER)),
    v2(71, 'the fee payer among the accounts of a guard', OUR_ACCOUNT, await guarded(FEE_PAYER)),
    v2(71, 'the fee payer pays for an account of a guard', OUR_ACCOUNT, await writing(FEE_PAYER)),
    v2(71, 'the fee payer among the accounts of the transfer', OUR_ACCOUNT, await signed(await payment({ transfer: await withAccount(FEE_PAYER) }))),
  ];
}

async function withAccount(account) {
  const move = await transfer();
  return { ...move, accounts: [...move.accounts, readonly(account)] };
}

/** Compute budgets that are not a limit and then a price, or cost too much. */
async function computeBudgets() {
  const move = await transfer();
  const of = async (...instructions) => signed(compiled([...instructions, move, memo()]));
  const cut = (instruction, length) => ({ ...instruction, data: instruction.data.subarray(0, length) });
  const longer = (instruction) => ({ ...instruction, data: Buffer.concat([instruction.data, Buffer.alloc(1)]) });
  return [
    v2(72, 'all the units of a transaction', `${LIMIT}_too_high`, await of(unitLimit(1_400_000), unitPrice())),
    v2(72, 'a price above what anybody allows', `${PRICE}_too_high`, await of(unitLimit(), unitPrice(5_000_001))),
    v2(72, 'the highest price of all', `${PRICE}_too_high`, await of(unitLimit(), unitPrice(2n ** 64n - 1n))),
    v2(72, 'no compute budget', LENGTH, await of()),
    v2(72, 'no limit', LIMIT, await of(unitPrice())),
    v2(72, 'no price', PRICE, await of(unitLimit())),
    v2(72, 'price before limit', LIMIT, await of(unitPrice(), unitLimit())),
    v2(72, 'two limits', PRICE, await of(unitLimit(), unitLimit())),
    v2(72, 'a limit of three bytes', LIMIT, await of(cut(unitLimit(), 4), unitPrice())),
    v2(72, 'a limit of five bytes', LIMIT, await of(longer(unitLimit()), unitPrice())),
    v2(72, 'a price of seven bytes', PRICE, await of(unitLimit(), cut(unitPrice(), 8))),
    v2(72, 'a price of nine bytes', PRICE, await of(unitLimit(), longer(unitPrice()))),
    v1(72, 'version 1, a price above what anybody allows', `${PRICE}_too_high`, await of(unitLimit(), unitPrice(5_000_001))),
  ];
}

/** Instructions that are not the transfer that was asked for. */
async function transfers() {
  const move = await transfer();
  const instead = async (changes) => signed(await payment({ transfer: { ...move, ...changes } }));
  const opcode = (...bytes) => instead({ data: Buffer.concat([Buffer.from(bytes), move.data.subarray(1)]) });
  const [source, , destination, authority] = move.accounts;
  const to = async (changes) => signed(await payment({ transfer: await transfer(changes) }));
  const recipient = `${PAYLOAD}_recipient_mismatch`;
  const amount = `${PAYLOAD}_amount_mismatch`;
  const plainTransfer = { accounts: [source, destination, authority], data: Buffer.concat([Buffer.from([3]), move.data.subarray(1, 9)]) };
  return [
    v2(73, 'Transfer', NO_TRANSFER, await instead(plainTransfer)),
    v2(73, 'ApproveChecked', NO_TRANSFER, await opcode(13)),
    v2(73, 'BurnChecked', NO_TRANSFER, await opcode(15)),
    v2(73, 'SetAuthority', NO_TRANSFER, await opcode(6)),
    v2(73, 'TransferCheckedWithFee', NO_TRANSFER, await instead({ programAddress: TOKEN_2022_PROGRAM, data: Buffer.concat([Buffer.from([26, 1]), move.data.subarray(1), Buffer.alloc(8)]) })),
    v2(73, 'TransferChecked without decimals', NO_TRANSFER, await instead({ data: move.data.subarray(0, 9) })),
    v2(73, 'TransferChecked with three accounts', NO_TRANSFER, await signed(await payment({ transfer: { ...move, accounts: move.accounts.slice(0, 3) }, notes: [memo('m', [signing(PAYER)])] }))),
    v2(73, 'TransferChecked without data', NO_TRANSFER, await instead({ data: Buffer.alloc(0) })),
    v2(73, 'out of an account of no known owner', NO_TRANSFER, await to({ source: STRANGER.address })),
    v2(73, "out of a stranger's account, whose delegate the payer may be", NO_TRANSFER, await to({ source: await ataOf(USDC, STRANGER.address) })),
    v2(74, 'another token', `${PAYLOAD}_mint_mismatch`, await to({ mint: TOKEN_2022 })),
    v2(74, 'USDC for another token', `${PAYLOAD}_mint_mismatch`, await to(), requirements({ mint: TOKEN_2022 })),
    v2(74, 'one decimal too few', `${PAYLOAD}_mint_mismatch`, await to({ mint: { ...USDC, decimals: USDC.decimals - 1 } })),
    v2(74, 'one decimal too many', `${PAYLOAD}_mint_mismatch`, await to({ mint: { ...USDC, decimals: USDC.decimals + 1 } })),
    v2(75, 'to the merchant itself instead of its token account', recipient, await to({ destination: PAY_TO.address })),
    v2(75, "to a stranger's token account", recipient, await to({ payTo: STRANGER })),
    v2(75, 'back to the payer', recipient, await to({ payTo: PAYER })),
    v2(75, 'to the token account under the other token program', recipient, await to({ destination: await ataOf({ ...USDC, program: TOKEN_2022_PROGRAM }, PAY_TO.address) })),
    v2(76, 'one unit too little', amount, await to({ amount: BigInt(AMOUNT) - 1n })),
    v2(76, 'one unit too much', amount, await to({ amount: BigInt(AMOUNT) + 1n })),
    v2(76, 'nothing', amount, await to({ amount: 0 })),
    v1(76, 'version 1, one unit too little', amount, await to({ amount: BigInt(AMOUNT) - 1n })),
  ];
}

/** Instructions behind the transfer, or before everything else. */
async function furtherInstructions() {
  const unknown = (ordinal) => `${PAYLOAD}_unknown_${ordinal}_instruction`;
  const then = async (...notes) => signed(await payment({ notes }));
  const move = await transfer();
  const lamports = systemTransfer();
  const advance = { programAddress: SYSTEM_PROGRAM, accounts: [readonly(STRANGER)], data: Buffer.from([4, 0, 0, 0]) };
  const createAta = { programAddress: ATA_PROGRAM, accounts: [{ address: PAYER.address, role: AccountRole.WRITABLE_SIGNER }], data: Buffer.from([1]) };
  const notes = (count) => Array.from({ length: count }, (_, i) => memo(String(i)));
  return [
    v2(77, 'a second transfer', unknown('fourth'), await then(move)),
    v2(77, 'a transfer of SOL', unknown('fourth'), await then(lamports)),
    v2(77, 'a token account is made', unknown('fourth'), await then(createAta)),
    v2(77, 'a transfer of SOL as the fifth', unknown('fifth'), await then(memo(), lamports)),
    v2(77, 'a transfer of SOL as the sixth', unknown('sixth'), await then(memo(), memo('b'), lamports)),
    v2(77, 'a transfer of SOL as the seventh', unknown('seventh'), await then(memo(), memo('b'), memo('c'), lamports)),
    v2(77, 'a durable nonce', LIMIT, await signed(compiled([advance, unitLimit(), unitPrice(), move]))),
    v2(77, 'a guard that asks for the slot', unknown('fourth'), await then(guard(15, [], 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4))),
    v2(77, 'a guard that compares the clock as an account', unknown('fifth'), await then(memo(), guard(5, [readonly(CLOCK)], 0, 0, ...Buffer.alloc(8), 4))),
    v2(77, "a guard of the merchant's account", unknown('fourth'), await then(guard(9, [readonly({ address: await ataOf(USDC, PAY_TO.address) })], 0, 2, ...Buffer.alloc(8), 4))),
    v2(77, 'a guard that writes to memory', unknown('fourth'), await then(guard(0, [], 0, 0, 0, 0))),
    v2(77, 'eight instructions', LENGTH, await then(...notes(5))),
    v1(77, 'version 1, a second transfer', unknown('fourth'), await then(move)),
    v1(77, 'version 1, seven instructions', LENGTH, await then(...notes(4))),
  ];
}

function systemTransfer() {
  const accounts = [
    { address: PAYER.address, role: AccountRole.WRITABLE_SIGNER },
    { address: STRANGER.address, role: AccountRole.WRITABLE },
  ];
  return { programAddress: SYSTEM_PROGRAM, accounts, data: Buffer.from([2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]) };
}

/** Memos that are not what the merchant asked for. */
async function memos() {
  const asked = requirements({ memo: 'order 7' });
  const count = `${PAYLOAD}_memo_count`;
  const mismatch = `${PAYLOAD}_memo_mismatch`;
  const then = async (...notes) => signed(await payment({ notes }));
  return [
    v2(78, 'no memo', count, await then(), asked),
    v2(78, 'the memo twice', count, await then(memo('order 7'), memo('order 7')), asked),
    v2(78, 'another memo', mismatch, await then(memo('order 8')), asked),
    v2(78, 'the memo and a space', mismatch, await then(memo('order 7 ')), asked),
    v2(78, 'a byte that is no text, read leniently the text that was asked for', mismatch, await then(memo(Buffer.from([0xff]))), requirements({ memo: '\ufffd' })),
    v2(78, 'a memo of 257 bytes that nobody asked for', mismatch, await then(memo('m'.repeat(257)))),
  ];
}
