// What stands on a local Solana node: the plan, which needs no node, and the work of building it.

import { mintAddress, solanaPayers, solanaRoles } from './accounts.mjs';
import { solanaNetwork } from './networks.mjs';
import { tokenBalance } from './rpc.mjs';
import { TOKEN_2022_PROGRAM, TOKEN_PROGRAM, ataOf, mintAccount, tokenAccount } from './tokens.mjs';

const DECIMALS = 6;
const GRANT = 1_000_000_000n; // 1,000 tokens
const SIGNER_LAMPORTS = 100_000_000_000; // 100 SOL

/** Every address and key of a local node. The same network and number of payers always give the same answer. */
export async function describeSolanaWorld({ network: name, payerCount }) {
  const network = solanaNetwork(name);
  const accounts = solanaRoles();
  const merchant = accounts.merchant.address;
  const mint = async (address, program, { transferFee = false } = {}) => ({
    address,
    program,
    decimals: DECIMALS,
    transferFee,
    merchantAta: await ataOf({ address, program }, merchant),
  });
  return {
    network: network.id,
    v1Network: network.v1Name,
    usdc: network.usdc,
    mints: {
      usdc: await mint(network.usdc, TOKEN_PROGRAM),
      token2022: await mint(mintAddress('token-2022'), TOKEN_2022_PROGRAM),
      transferFee: await mint(mintAddress('transfer fee'), TOKEN_2022_PROGRAM, { transferFee: true }),
    },
    merchant,
    accounts,
    payers: solanaPayers(payerCount),
  };
}

/** Builds the described world on a new node, and looks at the result. */
export async function buildSolanaWorld(node, world) {
  const { accounts, payers, mints } = world;
  const holders = [accounts.buyer, ...payers].map(({ address }) => address);
  for (const mint of Object.values(mints)) {
    const supply = GRANT * BigInt(holders.length);
    node.setAccount(mint.address, mintAccount(mint, { supply, authority: accounts.mintAuthority.address }));
    node.setAccount(mint.merchantAta, tokenAccount(mint, { owner: accounts.merchant.address, amount: 0n }));
    for (const owner of holders) node.setAccount(await ataOf(mint, owner), tokenAccount(mint, { owner, amount: GRANT }));
  }
  for (const { address } of accounts.signers) node.fundSol(address, SIGNER_LAMPORTS);

  await inspect(node.rpc, world, holders.at(-1));
}

/** A world that came out wrong must not be what a test runs on: the node itself reads the bytes that were put there. */
async function inspect(rpc, { mints, accounts }, lastHolder) {
  const expect = (holds, what) => {
    if (!holds) throw new Error(`The local Solana node was not set up as planned: ${what}.`);
  };
  const parsed = async (address) => {
    const { value } = await rpc.call('getAccountInfo', [address, { encoding: 'jsonParsed', commitment: 'confirmed' }]);
    return value?.data?.parsed?.info;
  };
  for (const mint of Object.values(mints)) {
    expect((await parsed(mint.address))?.decimals === DECIMALS, `${mint.address} is no mint`);
    expect((await parsed(mint.merchantAta))?.owner === accounts.merchant.address, `${mint.merchantAta} is not the merchant's`);
    const ata = await ataOf(mint, lastHolder);
    expect((await tokenBalance(rpc, ata)) === GRANT, `${lastHolder} holds no 1,000 of ${mint.address}`);
  }
  for (const { address } of accounts.signers) {
    const { value } = await rpc.call('getBalance', [address, { commitment: 'confirmed' }]);
    expect(value === SIGNER_LAMPORTS, `${address} has ${value} lamports`);
  }
}
