// A route handler of Next.js behind an ordinary HTTP server: what wraps the handler is driven without building an application.

import { serve } from '@hono/node-server';
import { NextRequest } from 'next/server.js';

export { NextResponse } from 'next/server.js';

export function serveRoute(handler, { port }) {
  serve({ fetch: (request) => handler(new NextRequest(request.url, request)), port, hostname: '127.0.0.1' });
}
