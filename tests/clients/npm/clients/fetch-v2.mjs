// @x402/fetch

import { wrapFetchWithPaymentFromConfig } from '@x402/fetch';
import { order, reportError, reportResponse } from '../program.mjs';
import { schemes } from '../v2.mjs';

await wrapFetchWithPaymentFromConfig(fetch, { schemes: await schemes() })(order.url).then(reportResponse, reportError);
