// x402-fetch

import { createSigner, wrapFetchWithPayment } from 'x402-fetch';
import { order, reportError, reportResponse } from '../program.mjs';

const { url, network, key, rpc } = order;
const signer = await createSigner(network, key);
const buy = wrapFetchWithPayment(fetch, signer, undefined, undefined, { svmConfig: { rpcUrl: rpc } });
await buy(url).then(reportResponse, reportError);
