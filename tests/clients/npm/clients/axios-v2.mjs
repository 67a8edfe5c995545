// @x402/axios

import { wrapAxiosWithPaymentFromConfig } from '@x402/axios';
import axios from 'axios';
import { order, report, reportError } from '../program.mjs';
import { schemes } from '../v2.mjs';

const buyer = wrapAxiosWithPaymentFromConfig(axios.create(), { schemes: await schemes() });
await buyer.get(order.url).then(({ status, data }) => report({ status, body: JSON.stringify(data) }), reportError);
