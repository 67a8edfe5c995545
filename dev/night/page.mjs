// The parts of docs/RELIABILITY.md that programs write.

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const PAGE = fileURLToPath(new URL('../../docs/RELIABILITY.md', import.meta.url));

/** Puts lines between the marks of a name. */
export function writeBetween(name, lines) {
  const [begin, end] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`];
  const page = readFileSync(PAGE, 'utf8');
  const [before, rest] = page.split(begin);
  const [, after] = rest.split(end);
  writeFileSync(PAGE, `${before}${begin}\n${lines.join('\n')}\n${end}${after}`);
}
