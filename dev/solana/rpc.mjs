// Calls to a Solana node, one in each request: the local node does not know JSON-RPC batches.

/** Connects to a node. */
export function connect(url) {
  async function call(method, params = []) {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
    });
    const { result, error } = await response.json();
    if (error) throw new Error(`${method} failed: ${error.message}`);
    return result;
  }
  return { url, call };
}

/** What a token account holds in atomic units; 0 if there is no such account. */
export async function tokenBalance(rpc, tokenAccount) {
  const { value } = await rpc.call('getAccountInfo', [tokenAccount, { encoding: 'base64', commitment: 'confirmed' }]);
  if (!value) return 0n;
  // The amount stands behind mint and owner, 32 bytes each.
  return Buffer.from(value.data[0], 'base64').readBigUInt64LE(64);
}
