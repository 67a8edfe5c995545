// @x402/next

import { load } from '../bundled.mjs';
import { NextResponse, serveRoute } from '../next.mjs';
import { GOODS, sale } from '../program.mjs';
import { offer, resourceServer } from '../v2.mjs';

const { withX402 } = await load('@x402/next');
serveRoute(withX402(async () => NextResponse.json(GOODS), offer, await resourceServer()), sale);
