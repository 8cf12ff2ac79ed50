/** Paths into objects, as references give them: `fromChain`, `match.srcSet`, `groups[]`, `members[].port`. */

type Json = Record<string, unknown>;

interface Step {
  readonly field: string;
  /** Each element of the field's list. */
  readonly each: boolean;
}

const parsed = new Map<string, readonly Step[]>();

function stepsOf(path: string): readonly Step[] {
  const known = parsed.get(path);
  if (known !== undefined) return known;
  const steps = path.split('.').map((part): Step => {
    const each = part.endsWith('[]');
    return { field: each ? part.slice(0, -2) : part, each };
  });
  parsed.set(path, steps);
  return steps;
}

/** The texts at a path, each with where it stands: `members[2].port`. What is absent, or no text, is left out. */
export function textsAt(object: object, path: string): { readonly path: string; readonly text: string }[] {
  const direct = (object as Json)[path];
  if (typeof direct === 'string') return [{ path, text: direct }];
  const found: { path: string; text: string }[] = [];
  const walk = (value: unknown, steps: readonly Step[], at: number, where: string): void => {
    if (at === steps.length) {
      if (typeof value === 'string') found.push({ path: where, text: value });
      return;
    }
    if (typeof value !== 'object' || value === null) return;
    const { field, each } = steps[at]!;
    const inner = (value as Json)[field];
    if (inner === undefined) return;
    const here = where === '' ? field : `${where}.${field}`;
    if (!each) walk(inner, steps, at + 1, here);
    else if (Array.isArray(inner))
      for (const [index, element] of inner.entries()) walk(element, steps, at + 1, `${here}[${index}]`);
  };
  walk(object, stepsOf(path), 0, '');
  return found;
}

/** The object with every text at the path replaced; what is not on the path is shared, the object itself is left as it is. */
export function replaceTextsAt<T extends object>(
  object: T,
  path: string,
  replace: (text: string, where: string) => string | undefined,
): T {
  const walk = (value: unknown, steps: readonly Step[], at: number, where: string): unknown => {
    if (at === steps.length) return typeof value === 'string' ? replace(value, where) : value;
    if (typeof value !== 'object' || value === null) return value;
    const { field, each } = steps[at]!;
    const inner = (value as Json)[field];
    if (inner === undefined) return value;
    const here = where === '' ? field : `${where}.${field}`;
    const next =
      each && Array.isArray(inner)
        ? inner.map((element, index) => walk(element, steps, at + 1, `${here}[${index}]`))
        : walk(inner, steps, at + 1, here);
    return { ...(value as Json), [field]: next };
  };
  return walk(object, stepsOf(path), 0, '') as T;
}

/** The path as references give it, from where a text was found: `members[2].port` → `members[].port`. */
export function patternOf(where: string): string {
  return where.replace(/\[\d+\]/g, '[]');
}
