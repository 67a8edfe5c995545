// Imports what is written for bundlers.

import { register } from 'node:module';

register('./extensions.mjs', import.meta.url);

export const load = (specifier) => import(specifier);
