import { readFileSync } from 'node:fs';
import { WeftError } from '../base/errors.ts';

/** A token or certificate without the space around it. Error: `not-found`. */
export function readSecret(path: string, what: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (cause) {
    throw new WeftError('not-found', `the ${what} file ${path} cannot be read`, { cause });
  }
}
