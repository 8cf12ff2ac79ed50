import type { KindDefinition, KindName } from './kind.ts';
import { KINDS } from './kinds.ts';
import type { ModelIndex } from './model-index.ts';
import { didYouMean } from './near.ts';
import type { AnyObject, ObjectOfKind } from './objects.ts';
import type { ParsedObject } from './parse.ts';
import { replaceTextsAt } from './paths.ts';
import type { Problem } from './problem.ts';

const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const SHORTEST_PREFIX = 4;

export type Found<K extends KindName> =
  | { readonly object: ObjectOfKind[K]; readonly problem?: undefined }
  /** `isAmbiguous`: not nothing but several fit. */
  | { readonly object?: undefined; readonly problem: string; readonly hint?: string; readonly isAmbiguous?: true };

/** `whole`: for what changes something. A name that is gone may be the beginning of somebody else's id. */
export type Naming = 'beginnings' | 'whole';

/**
 * What a reference in an object leads to: an id, `tenant/name`, or a name of the tenant (for kinds of the operator just a
 * name). Other tenants' objects are found by id and by `tenant/name`: whether they may be referred to is for the rules.
 */
export function resolveReference<K extends KindName>(
  index: ModelIndex,
  kind: K,
  text: string,
  tenant: string | undefined,
): Found<K> {
  if (ID.test(text)) {
    const object = index.get(kind, text);
    if (object) return { object };
  }
  if (!KINDS[kind].tenantOwned) {
    const [object] = index.named(kind, undefined, text);
    return object ? { object } : missing(kind, text, namesOf(index.all(kind)));
  }
  if (kind === 'routerPort') {
    const slash = text.lastIndexOf('/');
    if (slash < 0) return { problem: `a router port is written router/port, not "${text}"` };
    const router = resolveReference(index, 'router', text.slice(0, slash), tenant);
    if (!router.object)
      return { problem: router.problem!, ...(router.hint === undefined ? {} : { hint: router.hint }) };
    const [port] = index.named(kind, router.object.id, text.slice(slash + 1));
    return port ? { object: port } : missing(kind, text, namesOf(index.routerPortsOfRouter(router.object.id)));
  }
  const slash = text.indexOf('/');
  const owner = slash < 0 ? tenant : tenantByText(index, text.slice(0, slash))?.id;
  if (slash >= 0 && owner === undefined) {
    const tenantText = text.slice(0, slash);
    return { problem: `there is no tenant "${tenantText}"`, ...didYouMean(tenantText, namesOf(index.all('tenant'))) };
  }
  const [object] = index.named(kind, owner, text.slice(slash + 1));
  if (object) return { object };
  const siblings = owner === undefined ? [] : index.referrersOf('tenant', owner);
  return missing(kind, text, namesOf(siblings, kind));
}

/**
 * What a person means by a word on the command line or in an API path: an id, a name (with `tenant`, an id, or as
 * `tenant/name`, for rules `chain/name`), or, unless whole ones are asked for, the beginning of exactly one id among
 * the tenant's objects; without a tenant among all.
 */
export function findObject<K extends KindName>(
  index: ModelIndex,
  kind: K,
  text: string,
  tenant?: string,
  naming: Naming = 'beginnings',
): Found<K> {
  const byId = index.get(kind, text);
  if (byId) return { object: byId };
  const named = [...namedAnywhere(index, kind, text, tenant)];
  if (named.length === 1) return { object: named[0]! };
  if (named.length > 1) {
    const { nameWithin }: KindDefinition = KINDS[kind];
    const problem =
      nameWithin === undefined
        ? `${named.length} tenants have a ${kind} "${text}"`
        : `${named.length} objects of kind ${kind} are called "${text}"`;
    return { problem, hint: `write tenant/${nameWithin ? `${nameWithin}/` : ''}name, or the id`, isAmbiguous: true };
  }
  const begun = [...begunWith(index, kind, text, tenant)];
  if (naming === 'whole') {
    if (begun.length === 0) return missing(kind, text, namesOf(index.all(kind)));
    return { problem: `there is no ${kind} "${text}"`, hint: 'to change an object write its name, or its whole id' };
  }
  if (begun.length === 1) return { object: begun[0]! };
  if (begun.length > 1)
    return {
      problem: `${begun.length} ids of kind ${kind} begin with "${text}"`,
      hint: 'write more of the id',
      isAmbiguous: true,
    };
  return missing(kind, text, namesOf(index.all(kind)));
}

function* begunWith<K extends KindName>(
  index: ModelIndex,
  kind: K,
  text: string,
  tenant: string | undefined,
): Iterable<ObjectOfKind[K]> {
  if (text.length < SHORTEST_PREFIX || !/^[0-9a-f-]+$/.test(text)) return;
  const isOfAny = tenant === undefined || !KINDS[kind].tenantOwned;
  for (const object of index.all(kind))
    if (object.id.startsWith(text) && (isOfAny || object.tenant === tenant)) yield object;
}

function* namedAnywhere<K extends KindName>(
  index: ModelIndex,
  kind: K,
  text: string,
  tenant: string | undefined,
): Iterable<ObjectOfKind[K]> {
  if (!KINDS[kind].tenantOwned) return yield* index.named(kind, undefined, text);
  const parts = text.split('/');
  const name = parts.pop()!;
  if (kind === 'rule' || kind === 'routerPort' || kind === 'bgpPeer') {
    const within = kind === 'rule' ? 'chain' : 'router';
    const all: Iterable<AnyObject> = index.all(within);
    const text = parts.join('/');
    const byId = index.get(within, text);
    const containers = text === '' ? all : byId ? [byId] : namedAnywhere(index, within, text, tenant);
    for (const container of [...containers])
      if (tenant === undefined || container.tenant === tenant) yield* index.named(kind, container.id, name);
    return;
  }
  const owner = parts.length > 0 ? tenantByText(index, parts.join('/'))?.id : tenant;
  if (parts.length > 0 && owner === undefined) return;
  if (owner !== undefined) return yield* index.named(kind, owner, name);
  for (const each of index.all('tenant')) yield* index.named(kind, each.id, name);
}

function tenantByText(index: ModelIndex, text: string): ObjectOfKind['tenant'] | undefined {
  const [named] = index.named('tenant', undefined, text);
  return index.get('tenant', text) ?? named;
}

export type Resolved =
  | { readonly object: AnyObject; readonly problems?: undefined }
  | { readonly object?: undefined; readonly problems: readonly Problem[] };

/** A parsed object with its references, its tenant among them, as ids. `revision` 0: not stored yet. */
export function resolveObject(index: ModelIndex, parsed: ParsedObject, id: string, where: string): Resolved {
  const problems: Problem[] = [];
  const resolve = (path: string, kind: KindName, text: string, tenant: string | undefined): string | undefined => {
    const found = resolveReference(index, kind, text, tenant);
    if (found.object) return found.object.id;
    const hint = found.hint === undefined ? {} : { hint: found.hint };
    problems.push({ object: where, path, code: 'reference', message: found.problem, ...hint });
    return undefined;
  };
  const tenant = parsed.tenant === undefined ? undefined : resolve('tenant', 'tenant', parsed.tenant, undefined);
  let fields: Readonly<Record<string, unknown>> = parsed.fields;
  // With an unknown tenant every name would be unknown too: one problem tells enough.
  if (parsed.tenant === undefined || tenant !== undefined)
    for (const { path, kind } of KINDS[parsed.kind].references)
      fields = replaceTextsAt(fields, path, (text, where) => resolve(where, kind, text, tenant));
  if (problems.length > 0) return { problems };
  const object = {
    kind: parsed.kind,
    id,
    name: parsed.name,
    revision: 0,
    ...(tenant === undefined ? {} : { tenant }),
    ...(parsed.labels === undefined ? {} : { labels: parsed.labels }),
    ...fields,
  };
  // The schema of the kind has checked the fields; allocated ones are filled in next.
  return { object: object as unknown as AnyObject };
}

function missing<K extends KindName>(kind: K, text: string, names: Iterable<string>): Found<K> {
  return { problem: `there is no ${kind} "${text}"`, ...didYouMean(text.slice(text.indexOf('/') + 1), names) };
}

function* namesOf(objects: Iterable<AnyObject>, kind?: KindName): Iterable<string> {
  for (const object of objects) if (kind === undefined || object.kind === kind) yield object.name;
}
