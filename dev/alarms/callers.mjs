// Who asks the service: a server that sells, and strangers.

import { connect } from 'node:net';
import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { privateKeyToAccount } from 'viem/accounts';
import { authorize } from '../wallet.mjs';

const ATOMIC = '1000';
const VALID_SECONDS = 60;
const ASK_WITHIN_MS = 40_000;
/** Beyond this nothing new is begun: a service that hangs is no reason to fall over. */
const UNDER_WAY_MAX = 250;

/** Begins to verify and settle `perSecond` payments a second. Whatever is answered, each is asked for once. */
export function startSales({ url, key, chain, payTo, perSecond }) {
  const { network, usdc, usdcName, usdcVersion, payers } = chain.world;
  const accounts = payers.map(({ key }) => privateKeyToAccount(key));
  const extra = { name: usdcName, version: usdcVersion };
  const requirements = { scheme: 'exact', network, asset: usdc, amount: ATOMIC, payTo, maxTimeoutSeconds: VALID_SECONDS, extra };
  let [stopped, underWay] = [false, 0];
  const ask = async (path, body) => {
    const response = await fetch(url + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body,
      signal: AbortSignal.timeout(ASK_WITHIN_MS),
    });
    return response.text();
  };
  const sell = async (number) => {
    underWay++;
    const body = JSON.stringify(await authorize(accounts[number % accounts.length], requirements));
    await Promise.allSettled([ask('/verify', body), ask('/settle', body)]);
    underWay--;
  };
  const selling = (async () => {
    const began = Date.now();
    for (let number = 0; !stopped; number++) {
      if (underWay < UNDER_WAY_MAX) sell(number);
      await sleep(Math.max(1, began + ((number + 1) * 1_000) / perSecond - Date.now()));
    }
  })();
  return { stop: () => ((stopped = true), selling) };
}

/** Asks `perSecond` times a second without a key, from an address of its own, until it is told to stop. */
export function startFlood({ url, localAddress, perSecond }) {
  const ask = () => {
    const asked = request(`${url}/supported`, { localAddress }, (response) => response.resume());
    asked.on('error', () => {}).end();
  };
  const timer = setInterval(ask, 1_000 / perSecond);
  return () => clearInterval(timer);
}

/** Holds `count` connections open on which nothing is asked, from an address of its own; those that are closed are opened again. */
export function startIdlers({ url, localAddress, count }) {
  const { hostname: host, port } = new URL(url);
  const sockets = new Set();
  let stopped = false;
  const open = () => {
    if (stopped) return;
    const socket = connect({ host, port: Number(port), localAddress });
    sockets.add(socket);
    socket.on('error', () => {}).on('data', () => {});
    socket.once('close', () => (sockets.delete(socket), setTimeout(open, 250)));
  };
  for (let opened = 0; opened < count; opened++) open();
  return () => {
    stopped = true;
    for (const socket of sockets) socket.destroy();
  };
}
