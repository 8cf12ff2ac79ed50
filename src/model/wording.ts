import { z } from 'zod';

const TYPES: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
};

/** What a value is, for whoever wrote it. */
export function kindOfValue(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'number' ? String(value) : (TYPES[typeof value] ?? `a ${typeof value}`);
}

/** What is said of values of a wrong form where the schema has no sentence of its own; undefined: what Zod says. */
function wordingOf(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type': {
      const wanted = TYPES[issue.expected] ?? issue.expected;
      return issue.input === undefined
        ? `is missing; ${wanted} is wanted`
        : `${wanted} is wanted, not ${kindOfValue(issue.input)}`;
    }
    case 'invalid_value':
      return issue.input === undefined
        ? `is missing; ${oneOf(issue.values)} is wanted`
        : `${oneOf(issue.values)} is wanted`;
    case 'too_big':
      return boundText(issue.inclusive === false ? 'less than' : 'at most', issue.maximum, issue.origin);
    case 'too_small':
      return boundText(issue.inclusive === false ? 'more than' : 'at least', issue.minimum, issue.origin);
    default:
      return undefined;
  }
}

function oneOf(values: readonly unknown[]): string {
  return values.length === 1 ? String(values[0]) : `one of ${values.map(String).join(', ')}`;
}

function boundText(relation: string, bound: number | bigint, origin: string): string {
  if (origin === 'string') return `text of ${relation} ${bound} characters is wanted`;
  if (origin === 'array' || origin === 'set') return `a list of ${relation} ${bound} is wanted`;
  return `${relation} ${bound} is wanted`;
}

z.config({ customError: wordingOf });
