// The part both merchants share: what is sold, at what price, behind which paywall.

import express from 'express';
import { SAMPLE_TEXT, infer } from './inference.mjs';
import { rolesOf } from './roles.mjs';
import { isSolana } from './solana/networks.mjs';

export const PRICE = '$0.001';
export const PATH = '/v1/inference';
export const DESCRIPTION = 'One inference by a toy model';

const ATOMIC_PRICE = '1000';
const LONGEST_TEXT = 20_000;

/** The price in a token that the x402 packages do not know; they all have six decimals here. */
export const priceIn = (asset) => ({ amount: ATOMIC_PRICE, asset });

/** The address of the network's kind among those given, or else the merchant's own on a local chain. */
export async function recipientOf(network, given = []) {
  const fits = (address) => isSolana(network) !== address.startsWith('0x');
  return [given].flat().find(fits) ?? (await rolesOf(network)).merchant.address;
}

/** The same offer for POST with a JSON body `{ text }` and for GET with `?text=`. */
export const routes = (sale) => ({ [`POST ${PATH}`]: sale, [`GET ${PATH}`]: sale });

/** An express application that answers inferences to whoever gets past the paywall. */
export function shop(paywall) {
  const answer = (request, response) => {
    const text = request.body?.text ?? request.query.text ?? SAMPLE_TEXT;
    response.json(infer(String(text).slice(0, LONGEST_TEXT)));
  };
  return express().use(express.json({ limit: '64kb' })).use(paywall).post(PATH, answer).get(PATH, answer);
}
