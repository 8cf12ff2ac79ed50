import type { KindDefinition, KindName } from './kind.ts';
import { HIDDEN } from './kinds/bgp.ts';
import { KINDS } from './kinds.ts';

/** Fields that are written and never shown: `***` stands for them, and written back it leaves them as they are. */

export function secretsOf(kind: KindName): readonly string[] {
  const { secret }: KindDefinition = KINDS[kind];
  return secret ?? [];
}

/** As people may see it. */
export function withoutSecrets<T extends { readonly kind: KindName }>(object: T): T {
  const shown: Record<string, unknown> = {};
  for (const name of secretsOf(object.kind))
    if ((object as Record<string, unknown>)[name] !== undefined) shown[name] = HIDDEN;
  return Object.keys(shown).length === 0 ? object : { ...object, ...shown };
}

/** What was written, with the secrets that it leaves as they were. `lost`: fields of which nothing was known. */
export function withFormerSecrets<T extends { readonly kind: KindName }>(
  object: T,
  former: T | undefined,
): { readonly object: T; readonly lost: readonly string[] } {
  const kept: Record<string, unknown> = {};
  const lost: string[] = [];
  for (const name of secretsOf(object.kind)) {
    if ((object as Record<string, unknown>)[name] !== HIDDEN) continue;
    const known = (former as Record<string, unknown> | undefined)?.[name];
    if (known === undefined) lost.push(name);
    else kept[name] = known;
  }
  return { object: { ...object, ...kept }, lost };
}
