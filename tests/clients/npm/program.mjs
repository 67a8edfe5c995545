// What every program of this folder is told by run.mjs through its environment, and how it answers.

const { FACILITATOR_URL, NETWORK, PAY_TO, PORT, URL, PAYER_KEY, RPC_URL, WAY } = process.env;

/** What a resource server is told. `network` is the name that the server's version of x402 has for it, `way` one of list.mjs. */
export const sale = { facilitator: FACILITATOR_URL, network: NETWORK, payTo: PAY_TO, port: Number(PORT), price: '$0.001', way: WAY };

/** What a client is told. `rpc` is for Solana, where a client must know the newest block, and for payers who let Permit2 take their token. */
export const order = { url: URL, network: NETWORK, key: PAYER_KEY, rpc: RPC_URL };

export const isSolana = NETWORK?.startsWith('solana');

/** What is sold. run.mjs looks for it in what the buyer got. */
export const GOODS = { answer: 'forty-two' };

/** The one line that a client prints. */
export const report = (value) => console.log(JSON.stringify(value));

/** Tells a response the way run.mjs reads it. */
export async function reportResponse(response) {
  report({ status: response.status, body: await response.text() });
}

/** A client that gave up says why in one line as well; the SDKs differ in what they throw for a purchase that was refused. */
export function reportError(error) {
  const status = error.response?.status ?? null;
  report({ status, error: String(error.message ?? error).split('\n')[0].slice(0, 300) });
}
