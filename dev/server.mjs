// Serves an express application on loopback.

import { once } from 'node:events';

/** Resolves when the application listens, to its URL and a way to end it. */
export async function serve(application, port = 0) {
  const server = application.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const exited = once(server, 'close');
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    exited,
    stop() {
      server.close();
      // Clients keep connections open for reuse, and an open one would hold the server.
      server.closeAllConnections();
      return exited;
    },
  };
}
