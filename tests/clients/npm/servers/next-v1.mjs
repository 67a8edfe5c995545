// x402-next

import { load } from '../bundled.mjs';
import { NextResponse, serveRoute } from '../next.mjs';
import { GOODS, sale } from '../program.mjs';

const { withX402 } = await load('x402-next');
const { payTo, price, network, facilitator } = sale;
serveRoute(withX402(async () => NextResponse.json(GOODS), payTo, { price, network }, { url: facilitator }), sale);
