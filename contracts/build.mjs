// Compiles every contract of this folder into out/. The results are committed, because the service embeds them and nobody should need a
// Solidity compiler to build it; `--check` compiles again and fails if they no longer come from the sources.
//
//   node contracts/build.mjs            writes out/
//   node contracts/build.mjs --check    writes nothing, exits 1 and names what differs
//
// The compiler comes from dev/node_modules (npm ci in dev/); NODE_PATH is the fallback.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const HERE = new URL('./', import.meta.url);
const OUT = new URL('out/', HERE);
const COMPILER = '0.8.37';
const SETTINGS = {
  // The last version without PUSH0, which some networks still refuse.
  evmVersion: 'paris',
  // Creation code travels with every simulation, so size counts for more than the price of a loop.
  optimizer: { enabled: true, runs: 1 },
  viaIR: true,
  // Without the metadata trailer the bytes depend on code only, not on comments or file names.
  metadata: { bytecodeHash: 'none', appendCBOR: false },
  outputSelection: { '*': { '*': ['abi', 'metadata', 'evm.bytecode.object', 'evm.deployedBytecode.object'] } },
};

const solc = createRequire(new URL('../dev/package.json', HERE))('solc');
if (!solc.version().startsWith(`${COMPILER}+`)) fail(`solc ${COMPILER} wanted, found ${solc.version()}`);

const outputs = compile(['', 'test/']);
if (process.argv.includes('--check')) check(outputs);
else write(outputs);

/// File name in out/ -> text.
function compile(folders) {
  const sources = {};
  for (const folder of folders) {
    for (const file of readdirSync(new URL(folder, HERE)).filter((name) => name.endsWith('.sol')).sort()) {
      sources[folder + file] = { content: readFileSync(new URL(folder + file, HERE), 'utf8') };
    }
  }
  // No import callback: contracts may import each other, and nothing from outside.
  const result = JSON.parse(solc.compile(JSON.stringify({ language: 'Solidity', sources, settings: SETTINGS })));
  const messages = (result.errors ?? []).map((error) => error.formattedMessage);
  if (messages.length > 0) fail(messages.join('\n'));

  const outputs = {};
  for (const contracts of Object.values(result.contracts)) {
    for (const [name, { abi, evm, metadata }] of Object.entries(contracts)) {
      // Over the file and what it imports, so for most it is what sha256sum says.
      const hash = createHash('sha256');
      for (const file of Object.keys(JSON.parse(metadata).sources).sort()) hash.update(sources[file].content);
      if (evm.bytecode.object === '') continue; // An interface.
      const output = `${name}.json`;
      if (output in outputs) fail(`two contracts are called ${name}`);
      outputs[output] = `${JSON.stringify(
        {
          abi,
          bytecode: `0x${evm.bytecode.object}`,
          deployedBytecode: `0x${evm.deployedBytecode.object}`,
          compiler: solc.version(),
          sourceHash: `sha256:${hash.digest('hex')}`,
        },
        null,
        2,
      )}\n`;
      // For include_str!: no prefix and no newline, so it decodes as it is.
      if (name === 'Simulator') outputs['Simulator.hex'] = evm.bytecode.object;
    }
  }
  return outputs;
}

function write(outputs) {
  rmSync(OUT, { recursive: true, force: true });
  mkdirSync(OUT);
  for (const [name, text] of Object.entries(outputs)) writeFileSync(new URL(name, OUT), text);
  console.log(`contracts/out: ${Object.keys(outputs).length} files, Simulator ${outputs['Simulator.hex'].length / 2} bytes`);
}

function check(outputs) {
  const committed = existsSync(OUT) ? readdirSync(OUT) : [];
  const differing = [
    ...Object.keys(outputs).filter((name) => !committed.includes(name) || readFileSync(new URL(name, OUT), 'utf8') !== outputs[name]),
    ...committed.filter((name) => !(name in outputs)),
  ];
  if (differing.length > 0) fail(differing.map((name) => `contracts/out/${name} does not come from the sources: run node contracts/build.mjs`).join('\n'));
  console.log(`contracts/out: ${Object.keys(outputs).length} files agree with the sources`);
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
