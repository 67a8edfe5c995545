// What the server and the client of Faremeter share: the token on sale, by Faremeter's own tables.

import { lookupKnownAsset } from '@faremeter/info/evm';
import { lookupKnownSPLToken } from '@faremeter/info/solana';
import { isSolana } from './program.mjs';

export const USDC = isSolana ? lookupKnownSPLToken('devnet', 'USDC') : lookupKnownAsset('base-sepolia', 'USDC');
