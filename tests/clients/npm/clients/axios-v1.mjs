// x402-axios

import axios from 'axios';
import { createSigner, withPaymentInterceptor } from 'x402-axios';
import { order, report, reportError } from '../program.mjs';

const { url, network, key, rpc } = order;
const signer = await createSigner(network, key);
const buyer = withPaymentInterceptor(axios.create(), signer, undefined, { svmConfig: { rpcUrl: rpc } });
await buyer.get(url).then(({ status, data }) => report({ status, body: JSON.stringify(data) }), reportError);
