// Verifies a webhook with the library that its receivers are told to use. Nothing here is shared with the service. Run
// `node dev/verify-webhook.mjs REQUEST SECRET` with two files: the request as it came, headers first, then an empty line and the very
// bytes of the body; and the secret of the webhook. Prints what the webhook says, or fails with the reason.

import { readFileSync } from 'node:fs';
import { Webhook } from 'standardwebhooks';
import { fail, report } from './lifetime.mjs';

const [request, secret] = process.argv.slice(2).map((file) => readFileSync(file));
try {
  const end = request.indexOf('\r\n\r\n');
  if (end < 0) throw new Error('no empty line ends the headers');
  const lines = request.subarray(0, end).toString('latin1').split('\r\n').filter((line) => line.includes(': '));
  const headers = Object.fromEntries(lines.map((line) => line.split(/: (.*)/, 2)));
  report(new Webhook(secret.toString().trim()).verify(request.subarray(end + 4), headers));
} catch (error) {
  fail(error);
}
