// Who is who on a local chain. All keys come from the mnemonic that every Ethereum developer knows: they are public, and
// money sent to them on a real network is gone within seconds.

import { pbkdf2Sync } from 'node:crypto';
import { HDKey, privateKeyToAddress } from 'viem/accounts';
import { bytesToHex } from 'viem/utils';

const MNEMONIC = 'test test test test test test test test test test test junk';
const FIRST_PAYER = 10;

// Node's native PBKDF2 makes the seed once; viem's mnemonicToAccount would spend 50 ms on it for every account.
const seed = pbkdf2Sync(MNEMONIC, 'mnemonic', 2048, 64, 'sha512');
const parent = HDKey.fromMasterSeed(seed).derive("m/44'/60'/0'/0");

function account(index) {
  const key = bytesToHex(parent.deriveChild(index).privateKey);
  return { address: privateKeyToAddress(key), key };
}

/** The accounts with a part to play; anvil gives each of them 10,000 ETH. */
export function roles() {
  return {
    deployer: account(0),
    // The proxy refuses its admin every token function, so the admin is nobody else.
    proxyAdmin: account(1),
    signers: [account(2), account(3)],
    merchant: account(4),
    buyer: account(5),
    safeOwner: account(6),
  };
}

/** Payers own USDC and no ETH: whoever pays gas for them is caught. */
export function payers(count) {
  return Array.from({ length: count }, (_, i) => account(FIRST_PAYER + i));
}
