// Settles a payment with the client that gRPC has for Node.js, which knows nothing of us but the contract in proto/. Run
// `node dev/settle-over-grpc.mjs HOST:PORT BODY [KEY]` with a file that holds the body of a settle request. Prints what was answered: to a
// verification, to a settlement, to the same once more, and to nonsense.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';
import { fail, report } from './lifetime.mjs';

const [address, file, key] = process.argv.slice(2);
const SECONDS = 30;

function connect() {
  const contract = loader.loadSync('quittance/v1/facilitator.proto', {
    includeDirs: [fileURLToPath(new URL('../proto', import.meta.url))],
    keepCase: true,
    defaults: true,
  });
  const { Facilitator } = grpc.loadPackageDefinition(contract).quittance.v1;
  return new Facilitator(address, grpc.credentials.createInsecure());
}

/** What a call answers, or how it was refused: its code, and whether the details say `word`. */
function call(client, method, message, word) {
  const metadata = new grpc.Metadata();
  if (key) metadata.set('authorization', `Bearer ${key}`);
  const deadline = new Date(Date.now() + SECONDS * 1_000);
  return new Promise((resolve) => {
    client[method](message, metadata, { deadline }, (error, answer) => {
      if (!error) return resolve(answer);
      const details = error.metadata.get('grpc-status-details-bin').map(String).join();
      resolve({ code: grpc.status[error.code], says: details.includes(word) });
    });
  });
}

try {
  const { paymentPayload, paymentRequirements } = JSON.parse(readFileSync(file, 'utf8'));
  const payment = { payment_payload: JSON.stringify(paymentPayload), payment_requirements: JSON.stringify(paymentRequirements) };
  const client = connect();
  report({
    verified: await call(client, 'Verify', payment),
    settled: await call(client, 'Settle', payment),
    again: await call(client, 'Settle', payment),
    nonsense: await call(client, 'Settle', { ...payment, payment_payload: '{' }, 'invalid_json'),
  });
  client.close();
} catch (error) {
  fail(error);
}
