// A node that always answers the same: the two mints, one blockhash, and that every transaction would succeed. Clients that
// ask it build the same bytes at every run, which no living node allows.

import express from 'express';
import { serve } from '../server.mjs';
import { mintAccount } from '../solana/tokens.mjs';
import { BLOCKHASH, FEE_PAYER, TOKEN_2022, UNITS_CONSUMED, USDC } from './terms.mjs';

const context = { slot: 1, apiVersion: '4.1.2' };

const accounts = Object.fromEntries(
  [USDC, TOKEN_2022].map((mint) => {
    const { data, lamports, owner } = mintAccount(mint, { supply: 0n, authority: FEE_PAYER.address });
    const base64 = [Buffer.from(data).toString('base64'), 'base64'];
    return [mint.address, { data: base64, lamports, owner, executable: false, rentEpoch: 0, space: data.length }];
  }),
);

const METHODS = {
  getAccountInfo: ([address]) => ({ context, value: accounts[address] ?? null }),
  getMultipleAccounts: ([addresses]) => ({ context, value: addresses.map((address) => accounts[address] ?? null) }),
  getLatestBlockhash: () => ({ context, value: { blockhash: BLOCKHASH, lastValidBlockHeight: 151 } }),
  simulateTransaction: () => ({ context, value: { err: null, logs: [], unitsConsumed: UNITS_CONSUMED, accounts: null } }),
};

/** Starts the node on loopback. */
export function startFixedNode() {
  const answer = ({ body: { id, method, params } }, response) =>
    response.json({ jsonrpc: '2.0', id, result: METHODS[method](params) });
  return serve(express().use(express.json()).post('/', answer));
}
