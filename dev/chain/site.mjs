// A building site: collects what the set-up wants done, then does it in a handful of requests and blocks. Every
// transaction comes from the deployer with an explicit nonce, so all addresses are known before anything is sent.

import { concat, getContractAddress, toHex } from 'viem';

// Generous, because an exact figure would cost an estimate for each transaction. Unused gas is not paid for.
const DEPLOY_GAS = 8_000_000;
const CALL_GAS = 500_000;
// This many transactions at their gas limit fit one block.
const TRANSACTIONS_PER_BLOCK = 200;

/** Opens a site on an empty chain, where the deployer's nonce is zero. */
export function openSite(deployer) {
  const patches = [];
  const transactions = [];

  function send(to, data, gas) {
    transactions.push({ from: deployer, to, data, gas: toHex(gas), nonce: toHex(transactions.length) });
  }

  return {
    /** A change that no transaction could make: code at a chosen address, a storage slot. */
    patch: (method, ...params) => patches.push([method, params]),

    /** Deploys creation code and returns the address it will have. */
    deploy(initcode) {
      const address = getContractAddress({ from: deployer, nonce: BigInt(transactions.length) });
      send(undefined, initcode, DEPLOY_GAS);
      return address;
    },

    /** Deploys through a CREATE2 factory of the common kind: salt first, creation code behind it. */
    deployThrough: (factory, salt, initcode) => send(factory, concat([salt, initcode]), DEPLOY_GAS),

    call: (to, data) => send(to, data, CALL_GAS),

    async build(rpc) {
      await rpc.batch(patches);
      for (let start = 0; start < transactions.length; start += TRANSACTIONS_PER_BLOCK) {
        await mineTogether(rpc, transactions.slice(start, start + TRANSACTIONS_PER_BLOCK));
      }
    },
  };
}

async function mineTogether(rpc, transactions) {
  const hashes = await rpc.batch(transactions.map((transaction) => ['eth_sendTransaction', [transaction]]));
  const receiptsOf = () => rpc.batch(hashes.map((hash) => ['eth_getTransactionReceipt', [hash]]));
  let receipts = [];
  // A block that is full leaves the rest to the next one.
  for (let blocks = 0; blocks < 20; blocks++) {
    await rpc.call('evm_mine');
    receipts = await receiptsOf();
    if (receipts.every(Boolean)) break;
  }
  const failed = receipts.findIndex((receipt) => receipt?.status !== '0x1');
  if (failed >= 0) throw new Error(`Set-up transaction ${transactions[failed].nonce} to ${transactions[failed].to} failed.`);
}
