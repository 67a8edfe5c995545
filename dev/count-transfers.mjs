// Counts token transfers in recorded answers of nodes, in its own way: nothing here is shared with the service, whose reading of
// the same files is compared with this. Run `node dev/count-transfers.mjs FOLDER`, or with `RECEIPTS TOKEN`, a file with the receipts of
// a block of an EVM network and the address of a token.
//
// Prints one line of JSON: the number of transfers, the sum of their amounts, and each of them as `transaction place from to amount`;
// for a folder that of each file.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const TRANSFER = '0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef';
const ETHEREUM_USDC = '0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48';
const ARBITRUM_USDC = '0xaf88d065e77c8cc2239327c5edb3a432268e5831';
const POLYGON_USDC = '0x2791bca1f2de4661ed88a30c99a7a9449aa84174';
const SOLANA_USDC = 'EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v';
const NOBODY = '1'.repeat(32);

const FILES = {
  'evm-ethereum/shovel-logs-18000000.json': (answers) => ofLogs(answers[1].result, ETHEREUM_USDC),
  'evm-ethereum/squid-eth-18000000-receipts.json': (receipts) => ofLogs(logsOf(receipts), ETHEREUM_USDC),
  'evm-other/squid-arbitrum-150000000-receipts.json': (receipts) => ofLogs(logsOf(receipts), ARBITRUM_USDC),
  'evm-other/ethkit-polygon-vcr-watch2.json': (tape) => ofTape(tape, POLYGON_USDC),
  'evm-other/ethkit-polygon-vcr-watch3.json': (tape) => ofTape(tape, POLYGON_USDC),
  'solana/photon-mainnet-254170887.getBlock.base64.json': (block) => ofBalances(block, SOLANA_USDC),
};

const total = (transfers) => ({
  transfers: transfers.length,
  sum: transfers.reduce((sum, { amount }) => sum + amount, 0n).toString(),
  entries: transfers.map(({ transaction, place, from, to, amount }) => `${transaction} ${place} ${from} ${to} ${amount}`),
});

const logsOf = (receipts) => receipts.flatMap(({ logs }) => logs);

function ofLogs(logs, token) {
  return total(transfersIn(logs, token));
}

/** An event of three topics whose data is one word. */
function transfersIn(logs, token) {
  const isTransfer = ({ address, topics, data }) =>
    address.toLowerCase() === token && topics[0] === TRANSFER && topics.length === 3 && data.length === 66;
  return logs.filter(isTransfer).map(({ transactionHash, logIndex, topics, data }) => ({
    transaction: transactionHash,
    place: Number(logIndex),
    from: `0x${topics[1].slice(26)}`,
    to: `0x${topics[2].slice(26)}`,
    amount: BigInt(data),
  }));
}

/** What a follower of the chain asked and was told. Some was said twice, and some blocks were replaced meanwhile. */
function ofTape({ Episodes: episodes }, token) {
  const parse = (body) => JSON.parse(Buffer.from(body, 'base64').toString());
  const said = episodes.map(({ Request, Response }) => ({ ...parse(Request.Body), result: parse(Response.Body).result }));
  const answered = said.filter(({ result }) => result);

  const blocks = new Map();
  const logs = new Map();
  for (const { method, params, result } of answered) {
    if (method.startsWith('eth_getBlock')) blocks.set(result.hash, result);
    if (method === 'eth_getLogs') logs.set(params[0].blockHash, result);
  }
  const all = answered.filter(({ method }) => method === 'eth_getLogs').flatMap(({ result }) => transfersIn(result, token));

  // The chain as it stood in the end: from the highest block back from parent to parent.
  let block = [...blocks.values()].reduce((one, other) => (Number(other.number) > Number(one.number) ? other : one));
  const chain = [];
  for (; block; block = blocks.get(block.parentHash)) chain.unshift(block);
  const canonical = chain.flatMap(({ hash }) => transfersIn(logs.get(hash), token));

  return { ...total(all), blocks: chain.length, canonical: total(canonical) };
}

/** What accounts held before and after each transaction that did not fail. */
function ofBalances({ transactions }, mint) {
  const transfers = [];
  let failed = 0;
  for (const { transaction, meta } of transactions) {
    if (meta.err !== null) {
      failed += 1;
      continue;
    }
    const changes = changesOf(meta, mint);
    const name = signatureOf(transaction[0]);
    const from = loserOf(changes);
    for (const { place, owner, change } of changes) {
      if (change > 0n) transfers.push({ transaction: name, place, from, to: owner, amount: change });
    }
  }
  return { ...total(transfers), failed };
}

function changesOf({ preTokenBalances, postTokenBalances }, mint) {
  const changes = [];
  for (let place = 0; place < 256; place += 1) {
    const at = (balances) => balances.find((balance) => balance.accountIndex === place && balance.mint === mint);
    const [before, after] = [at(preTokenBalances), at(postTokenBalances)];
    const units = (balance) => BigInt(balance?.uiTokenAmount.amount ?? '0');
    const change = units(after) - units(before);
    if (change !== 0n) changes.push({ place, owner: (change > 0n ? after : before).owner, change });
  }
  return changes;
}

/** The only one whose accounts lost any; of several, nobody. */
function loserOf(changes) {
  const losers = new Set(changes.filter(({ change }) => change < 0n).map(({ owner }) => owner));
  return losers.size === 1 ? [...losers][0] : NOBODY;
}

/** The first of a transaction's signatures, which stand behind a byte that counts them. */
function signatureOf(wire) {
  return base58(Buffer.from(wire, 'base64').subarray(1, 65));
}

function base58(bytes) {
  const digits = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
  let text = '';
  for (let number = BigInt(`0x${bytes.toString('hex')}`); number > 0n; number /= 58n) {
    text = digits[Number(number % 58n)] + text;
  }
  const zeros = bytes.findIndex((byte) => byte !== 0);
  return '1'.repeat(zeros < 0 ? bytes.length : zeros) + text;
}

const read = (file) => JSON.parse(readFileSync(file, 'utf8'));
const [place = process.env.QUITTANCE_FIXTURES, token] = process.argv.slice(2);
const ofFolder = () => Object.fromEntries(Object.entries(FILES).map(([file, count]) => [file, count(read(join(place, file)))]));
console.log(JSON.stringify(token ? ofLogs(logsOf(read(place)), token.toLowerCase()) : ofFolder()));
