import { printable } from '../base/shown.ts';

/** Values by path, as columns and problems write them: `status.state`, `subnets[].cidr`, `subnets[0].gateway`. */

/** The steps of a path; a number is an index, `'[]'` means every element. */
export function parsePath(path: string): (string | number)[] {
  const steps: (string | number)[] = [];
  for (const match of path.matchAll(/\[(\d*)\]|[^.[\]]+/g)) {
    if (match[0] === '[]') steps.push('[]');
    else if (match[1] !== undefined) steps.push(Number(match[1]));
    else steps.push(match[0]);
  }
  return steps;
}

/** The value at a path, an array where it goes through `[]`; undefined where there is none. */
export function valueAt(value: unknown, path: string): unknown {
  return follow(value, parsePath(path));
}

function follow(value: unknown, steps: readonly (string | number)[]): unknown {
  const [step, ...rest] = steps;
  if (step === undefined) return value;
  if (typeof value !== 'object' || value === null) return undefined;
  if (step === '[]') return Array.isArray(value) ? value.map((element) => follow(element, rest)) : undefined;
  return follow((value as Record<string | number, unknown>)[step], rest);
}

/** A value in one table cell. */
export function cellText(value: unknown): string {
  if (value === undefined || value === null || value === '') return '-';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (Array.isArray(value)) return value.length === 0 ? '-' : value.map(cellText).join(',');
  if (typeof value !== 'object') return printable(String(value));
  const entries = Object.entries(value).filter(([, v]) => v !== undefined);
  return entries.length === 0 ? '-' : entries.map(([key, v]) => `${key}=${cellText(v)}`).join(' ');
}

/** A value on one line of a description or diff: short, unambiguous, like YAML's flow style. */
export function inlineText(value: unknown): string {
  if (value === undefined) return '(none)';
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return /^[\w./:@-]+$/.test(value) ? value : JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(inlineText).join(', ')}]`;
  if (typeof value !== 'object') return String(value);
  const entries = Object.entries(value).map(([key, v]) => `${key}: ${inlineText(v)}`);
  return entries.length === 0 ? '{}' : `{ ${entries.join(', ')} }`;
}
