// Who is run: resource servers, the clients that buy from each, and what could not be run, with the reason.

import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const text = (path) => readFileSync(join(HERE, path), 'utf8');

const NPM = JSON.parse(text('npm/package.json')).dependencies;

const npm = (name, program) => ({
  name,
  version: NPM[name],
  program: { command: process.execPath, args: [join(HERE, 'npm', `${program}.mjs`)], cwd: join(HERE, 'npm') },
});

const CACHE = process.env.QUITTANCE_CLIENTS ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'quittance/clients');

/** A program with the packages of python/v1.txt or python/v2.txt, which stand in an environment of their own. */
const python = (x402, name, program) => ({
  name: `x402 with ${name}`,
  version: pinned(text(`python/v${x402}.txt`), 'x402'),
  program: {
    command: join(CACHE, `python-v${x402}/bin/python`),
    args: [join(HERE, 'python', `${program}_v${x402}.py`)],
    cwd: join(HERE, 'python'),
    environment: { PYTHONPATH: join(HERE, 'python'), PYTHONDONTWRITEBYTECODE: '1' },
  },
});
const pinned = (requirements, name) => new RegExp(`^${name}==(\\S+)`, 'm').exec(requirements)[1];

const CARGO_TARGET = process.env.CLIENTS_TARGET_DIR ?? join(process.env.CARGO_TARGET_DIR ?? join(homedir(), '.cache/quittance/target'), 'clients');

/** A program of the Cargo workspace in rust/. */
const rust = (name, program) => ({
  name,
  version: new RegExp(`name = "${name}"\nversion = "(.*)"`).exec(text('rust/Cargo.lock'))[1],
  program: { command: join(CARGO_TARGET, 'debug', program), args: [], cwd: HERE },
});

const GO_MARK = join(CACHE, 'go/version');
const GO_VERSION = existsSync(GO_MARK) ? readFileSync(GO_MARK, 'utf8').trim() : undefined;

/** What is in Go takes part where its programs were built, for which test-clients.sh must be given a checkout of the SDK. */
const inGo = (...entries) => (GO_VERSION ? entries : []);

/** A program of go/. */
const go = (name, program) => ({
  name: `x402/go with ${name}`,
  version: GO_VERSION,
  program: { command: join(CACHE, 'go', program), args: [], cwd: HERE },
});

const EVM = ['evm'];
const BOTH = ['evm', 'solana'];

const fetchV2 = npm('@x402/fetch', 'clients/fetch-v2');
const axiosV2 = npm('@x402/axios', 'clients/axios-v2');
const fetchV1 = npm('x402-fetch', 'clients/fetch-v1');
const axiosV1 = npm('x402-axios', 'clients/axios-v1');
const faremeter = npm('@faremeter/fetch', 'clients/faremeter');
const mcpay = { ...npm('mcpay', 'clients/mcpay'), families: EVM };
const httpxV2 = python(2, 'httpx', 'clients/httpx');
const requestsV2 = python(2, 'requests', 'clients/requests');
const mcpV2 = python(2, 'MCP client', 'clients/mcp');
const httpxV1 = { ...python(1, 'httpx', 'clients/httpx'), families: EVM };
const requestsV1 = { ...python(1, 'requests', 'clients/requests'), families: EVM };
const x402Reqwest = rust('x402-reqwest', 'x402-rs-client');
const r402 = rust('r402', 'r402-client');
const netHttp = go('net/http', 'client');

// How it is paid on EVM networks: `exact` by EIP-3009, `permit2` by scheme exact through Permit2, `upto` by that scheme.
const stand = (language, x402, server, clients, rest = {}) => ({ language, x402, server, clients, families: BOTH, path: '/paid', way: 'exact', ...rest });

/**
 * A stand is a resource server with the clients that buy from it, the first of which is its own. `fast` are those that buy from it in
 * a quick run, which has one client of each language.
 */
export const STANDS = [
  stand('JavaScript', 2, npm('@x402/express', 'servers/express-v2'), [fetchV2, axiosV2, faremeter, r402, ...inGo(netHttp)], { fast: [fetchV2, r402] }),
  stand('JavaScript', 2, npm('@x402/express', 'servers/express-v2'), [fetchV2, axiosV2, httpxV2, ...inGo(netHttp)], { families: EVM, way: 'permit2', fast: [fetchV2] }),
  stand('JavaScript', 2, npm('@x402/express', 'servers/express-v2'), [fetchV2, axiosV2, httpxV2, ...inGo(netHttp)], { families: EVM, way: 'upto', fast: [fetchV2] }),
  stand('JavaScript', 2, npm('@x402/hono', 'servers/hono-v2'), [fetchV2, httpxV2, x402Reqwest]),
  stand('JavaScript', 2, npm('@x402/next', 'servers/next-v2'), [fetchV2, requestsV2]),
  stand('JavaScript', 2, npm('@faremeter/middleware', 'servers/faremeter'), [faremeter, fetchV2]),
  stand('JavaScript', 1, npm('x402-express', 'servers/express-v1'), [fetchV1, axiosV1, fetchV2, axiosV2, faremeter], { fast: [fetchV1] }),
  stand('JavaScript', 1, npm('x402-hono', 'servers/hono-v1'), [fetchV1, httpxV1, requestsV1, httpxV2, requestsV2]),
  stand('JavaScript', 1, npm('x402-next', 'servers/next-v1'), [fetchV1, x402Reqwest, ...inGo(netHttp)]),
  stand('JavaScript', 1, npm('mcpay', 'servers/mcpay'), [mcpay], { families: EVM, path: '/mcp' }),

  stand('Python', 2, python(2, 'FastAPI', 'servers/fastapi'), [httpxV2, requestsV2, fetchV2, x402Reqwest, r402], { fast: [httpxV2] }),
  stand('Python', 2, python(2, 'FastAPI', 'servers/fastapi'), [httpxV2, requestsV2, fetchV2], { families: EVM, way: 'permit2' }),
  stand('Python', 2, python(2, 'FastAPI', 'servers/fastapi'), [httpxV2, requestsV2, fetchV2], { families: EVM, way: 'upto' }),
  stand('Python', 2, python(2, 'Flask', 'servers/flask'), [requestsV2, httpxV2, axiosV2]),
  stand('Python', 2, python(2, 'MCP server', 'servers/mcp'), [mcpV2], { path: '' }),
  stand('Python', 1, python(1, 'FastAPI', 'servers/fastapi'), [httpxV1, requestsV1, fetchV1], { families: EVM }),
  stand('Python', 1, python(1, 'Flask', 'servers/flask'), [requestsV1, httpxV1, axiosV1], { families: EVM }),

  stand('Rust', 2, rust('x402-axum', 'x402-rs-server'), [x402Reqwest, r402, fetchV2, httpxV2]),
  stand('Rust', 1, rust('x402-axum', 'x402-rs-server'), [x402Reqwest, fetchV1, httpxV1]),
  stand('Rust', 2, rust('r402', 'r402-server'), [r402, x402Reqwest, fetchV2, requestsV2]),

  ...inGo(
    stand('Go', 2, go('gin', 'server'), [netHttp, fetchV2]),
    stand('Go', 2, go('gin', 'server'), [netHttp, fetchV2], { families: EVM, way: 'permit2' }),
    stand('Go', 2, go('gin', 'server'), [netHttp, fetchV2], { families: EVM, way: 'upto' }),
  ),
];

// What is wrong when a buyer is refused before anything is paid.
const REFUSED = /^(the client got 402: .*|the goods were not served|the (payer spent|merchant earned) 0)$/;

/**
 * What goes wrong because of somebody else. A run fails when anything else goes wrong, and when one of these does no longer. `answers`
 * are those of answers.mjs, and `undefined` is a purchase without any.
 */
export const KNOWN = [
  {
    party: '@x402/axios',
    ways: ['permit2', 'upto'],
    answers: [undefined],
    fault: REFUSED,
    why:
      'is made with @x402/core 2.11, which replaces what the server said of `eip2612GasSponsoring` by its own signature where 2.27 adds to ' +
      'it. A server of 2.27 takes that for a change (`extension_echo_mismatch`) and answers 402 before it asks the facilitator. It is the ' +
      'newest version of @x402/axios that is published',
  },
  {
    party: '@faremeter/fetch',
    answers: ['settle: pending', 'settle: sent twice', 'settle: answer lost'],
    fault: /^paid 3 times$/,
    why:
      'asks up to twice again after a 402 and signs a new authorization each time, also when the one before was settled. ' +
      '`retryCount: 0` stops it',
  },
  {
    party: 'x402 with FastAPI',
    x402: 1,
    answers: ['settle: slow success'],
    fault: /^not served after a success$/,
    why: 'gives up after five seconds, the default of httpx, and knows no setting for it. The buyer has paid and is refused',
  },
  {
    party: 'x402 with Flask',
    x402: 1,
    answers: ['settle: slow success'],
    fault: /^not served after a success$/,
    why: 'the same',
  },
  ...inGo(
    {
      party: 'x402/go with gin',
      answers: ['verify: invalid'],
      fault: /^the money moved$/,
      why:
        'overlooks `isValid: false` in an answer of status 200: it does the work, settles, and serves if that succeeds. The service checks ' +
        'again before it settles, so that nobody is served who did not pay',
    },
    {
      party: 'x402/go with net/http',
      ways: ['permit2', 'upto'],
      answers: [undefined],
      fault: REFUSED,
      why:
        'replaces the `info` that the server gave with `eip2612GasSponsoring` by its own signature, as @x402/axios does, and is refused by ' +
        'the same servers',
    },
  ),
];

/** What those should know who use these packages, and what the programs here do about it. */
export const SEEN = [
  {
    party: 'all resource servers of version 1, and in version 2 x402-axum and x402/go with gin',
    what: 'do not ask again after `settlement_pending`, so their buyers have paid and are refused. The others of version 2 ask once more',
  },
  {
    party: 'r402, as a resource server',
    what: 'answers 502 where the facilitator answered 400 or not at all, and 402 to every other refusal',
  },
  {
    party: '@faremeter/middleware',
    what: 'only settles and never verifies',
  },
  {
    party: 'r402, as a client',
    what:
      'repeats `payTo` with its checksum whatever it was offered, and servers in JavaScript and Python that compare letters refuse a ' +
      '`payTo` that they offered in small ones. All addresses here have their checksum',
  },
  {
    party: 'x402-axum, version 1',
    what: 'offers `mimeType: null` unless told a type, which x402-fetch 1.x and x402 1.0 of PyPI do not take',
  },
  {
    party: 'mcpay, @x402/next, x402-next',
    what: 'name modules without their extension, which bundlers find and Node.js does not; `npm/extensions.mjs` finds them as a bundler does',
  },
  {
    party: 'x402 2.25 of PyPI, with MCP',
    what: 'imports what version 2 of `mcp` has renamed, so the one before is installed',
  },
  {
    party: 'x402-chain-eip155 2.0.2',
    what: 'compiles its feature `client` only together with `telemetry`',
  },
  {
    party: 'x402/go with gin',
    what:
      'reads `/supported` once, when it starts, and sells on without what was not there: on Solana it offers no `feePayer` until it is ' +
      'started again, and nobody can pay',
  },
  {
    party: 'x402/go, as a client by EIP-3009 in version 2',
    what: 'signs for an hour, whatever `maxTimeoutSeconds` it is offered. That is why `validity_slack_seconds` is 3600',
  },
  {
    party: 'x402/go, as a client through Permit2',
    what:
      'never asks the node that its scheme is told (`RPCURL`) when the key is held by its own `ClientSigner`, and pays without the ' +
      'signature of `eip2612GasSponsoring`, which is refused. The signer must be made with a node (`NewClientSignerFromPrivateKeyWithClient`)',
  },
];

export const NOT_RUN = [
  {
    name: 'Go: github.com/x402-foundation/x402/go, as a module',
    why:
      'the module proxy refuses it (403). What is in Go is run when a checkout of its repository is given, and was last with commit ' +
      'dd927a26cfefc98c24b3ec38b3a8f204dad0c60d of 2026-04-21',
  },
  {
    name: 'x402 1.0 of PyPI, on Solana',
    why: 'it has EVM networks only',
  },
  {
    name: 'mcpay, on Solana',
    why: 'its client asks the public node of the cluster for the newest block and takes no other',
  },
  {
    name: '@faremeter/middleware with facilitatorURL',
    why: 'it asks the facilitator for /accepts, which is not in x402; it is run with requirements of its own, and settles at our URL',
  },
];
