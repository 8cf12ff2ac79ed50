import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { WeftError } from '../base/errors.ts';
import type { Allocator } from '../model/allocate.ts';
import { describe } from '../model/describe.ts';
import type { Draft, DraftChange } from '../model/draft.ts';
import type { KindDefinition, KindName } from '../model/kind.ts';
import { KINDS } from '../model/kinds.ts';
import type { ModelIndex } from '../model/model-index.ts';
import type { AnyObject, ObjectOfKind } from '../model/objects.ts';
import { type ParsedObject, parseObject } from '../model/parse.ts';
import { replaceTextsAt } from '../model/paths.ts';
import { type Problem, problemsError } from '../model/problem.ts';
import { nameScopeOf } from '../model/relations.ts';
import { type Found, findObject, type Naming, resolveObject } from '../model/resolve.ts';
import { checkRules } from '../model/rules.ts';
import { withFormerSecrets } from '../model/secrets.ts';

/**
 * What a write of people does to a draft. Each function either leaves the draft as the write wants it, or throws a
 * `WeftError` with every problem; what is in the draft then is the caller's to take back.
 */
export interface Mutation {
  readonly draft: Draft;
  readonly allocator: Allocator;
}

/** Creates the object, or replaces the one given; fields that the server allocated stay unless they are written. */
export function putObject(
  { draft, allocator }: Mutation,
  parsed: ParsedObject,
  where: string,
  report: (problem: Problem) => void,
  options: {
    readonly before?: AnyObject;
    readonly applySet?: string;
    readonly mustBeNew?: boolean;
    /** As `announce` has put it. */
    readonly shell?: AnyObject;
  } = {},
): AnyObject | undefined {
  const { index } = draft;
  const { shell } = options;
  const resolved = resolveObject(index, parsed, (options.before ?? shell ?? parsed).id ?? randomUUID(), where);
  if (resolved.problems) {
    for (const problem of resolved.problems) report(problem);
    return undefined;
  }
  const before = options.before ?? (shell ? undefined : existing(draft, resolved.object, parsed.id));
  if (before && options.mustBeNew) {
    const path = parsed.id === before.id ? 'id' : 'name';
    report({ object: where, path, code: path, message: `is taken, by ${describe(index, before)} (${before.id})` });
    return undefined;
  }
  if (before && parsed.id !== undefined && parsed.id !== before.id) {
    const message = `${describe(index, before)} has the id ${before.id}`;
    report({ object: where, path: 'id', code: 'id', message, hint: 'leave the id out, or delete that one first' });
    return undefined;
  }
  if (before && draft.hasTouched(before.kind, before.id) && options.before === undefined) {
    report({ object: where, path: '', code: 'duplicate-object', message: 'is given twice' });
    return undefined;
  }
  const applySet = options.applySet ?? before?.applySet;
  if (before?.applySet !== undefined && before.applySet !== applySet) {
    const message = `belongs to apply set "${before.applySet}"`;
    report({ object: where, path: '', code: 'apply-set', message, hint: 'remove it there first' });
    return undefined;
  }
  const former = before ?? shell;
  const { object, lost } = withFormerSecrets(resolved.object, before);
  for (const path of lost)
    report({ object: where, path, code: 'schema', message: '*** stands for one that is kept; none is known' });
  const wanted = {
    ...(former ? allocatedFieldsOf(former) : {}),
    ...withoutUndefined(object),
    ...(before ? { id: before.id } : {}),
    ...(applySet === undefined ? {} : { applySet }),
  } as AnyObject;
  // Revision 0 until it is stored: a precondition on the former revision must not hold for a second write that waits too.
  const filled = allocator.fill(wanted, report);
  if (before && isDeepStrictEqual({ ...before, revision: 0 }, filled)) return before;
  draft.put(filled);
  return filled;
}

/**
 * Puts what is new among the objects, of one kind, without their references to objects of their own kind, so that they
 * can refer to each other (a group to itself, a router port to its peer) whatever their order. Each is then written
 * whole by `putObject`; what is wrong with it is said there.
 */
export function announce(mutation: Mutation, objects: readonly ParsedObject[]): ReadonlyMap<ParsedObject, AnyObject> {
  const shells = new Map<ParsedObject, AnyObject>();
  for (const object of objects) {
    const own = KINDS[object.kind].references.filter(({ kind }) => kind === object.kind);
    if (own.length === 0) break;
    let { fields } = object;
    for (const { path } of own) fields = replaceTextsAt(fields, path, () => undefined);
    const bare = { ...object, fields };
    const resolved = resolveObject(mutation.draft.index, bare, object.id ?? randomUUID(), '');
    if (resolved.problems || existing(mutation.draft, resolved.object, object.id)) continue;
    const shell = putObject(mutation, bare, '', () => {});
    if (shell) shells.set(object, shell);
  }
  return shells;
}

/** Deletes the object with what hangs on it by nature: a port's binding, a host's claims. */
export function removeObject({ draft, allocator }: Mutation, object: AnyObject): void {
  if (object.kind === 'port') draft.delete('binding', object.id);
  if (object.kind === 'host')
    for (const binding of [...draft.index.bindingsOnHost(object.id)]) {
      const { active, ...rest } = binding;
      const claims = binding.claims.filter((claim) => claim.host !== object.id);
      const next = active === object.id ? claims[0]?.host : active;
      draft.put({ ...rest, claims, ...(next === undefined ? {} : { active: next }) });
    }
  if ('key' in object) allocator.retireKey(object.key);
  draft.delete(object.kind, object.id);
}

/** Throws everything that is wrong with the draft, what was found before included. */
export function finish({ draft }: Mutation, problems: readonly Problem[]): readonly DraftChange[] {
  const changes = draft.changes();
  const all = [...problems, ...checkRules(draft.index, changes)];
  if (all.length > 0) throw problemsError(all);
  return changes;
}

/** Creation through `POST /v1/<plural>`. */
export function createObject(mutation: Mutation, kind: KindName, raw: unknown): AnyObject {
  const parsed = parseObject(raw, 'request', kind);
  if (parsed.problems) throw problemsError(parsed.problems);
  const problems: Problem[] = [];
  const where = titleOf(parsed.object);
  const shell = announce(mutation, [parsed.object]).get(parsed.object);
  const object = putObject(mutation, parsed.object, where, (problem) => problems.push(problem), {
    mustBeNew: true,
    ...(shell ? { shell } : {}),
  });
  finish(mutation, problems);
  return object!;
}

/** `PUT`: the object as it shall be, whole. */
export function replaceObject(mutation: Mutation, before: AnyObject, raw: unknown): AnyObject {
  const parsed = parseObject(withIdentity(raw, before), describe(mutation.draft.index, before), before.kind);
  if (parsed.problems) throw problemsError(parsed.problems);
  const problems: Problem[] = [];
  const where = titleOf(parsed.object);
  const object = putObject(mutation, parsed.object, where, (problem) => problems.push(problem), { before });
  finish(mutation, problems);
  return object!;
}

/** `PATCH`: RFC 7396 on the object as `GET` shows it. */
export function patchObject(mutation: Mutation, before: AnyObject, patch: unknown): AnyObject {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch))
    throw new WeftError('invalid', 'a merge patch is an object with the fields to change');
  return replaceObject(mutation, before, mergePatch(before, patch));
}

/** A replacement need not repeat what identifies the object. */
function withIdentity(raw: unknown, before: AnyObject): unknown {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) return raw;
  const { name, tenant } = before;
  return { name, ...(tenant === undefined ? {} : { tenant }), ...raw };
}

export function deleteObject(mutation: Mutation, object: AnyObject): void {
  removeObject(mutation, object);
  finish(mutation, []);
}

/** The stored object that a written one means: by id, otherwise by name. */
function existing(draft: Draft, object: AnyObject, id: string | undefined): AnyObject | undefined {
  const byId = id === undefined ? undefined : draft.index.get(object.kind, id);
  if (byId) return byId;
  const [named] = draft.index.named(object.kind, nameScopeOf(object), object.name);
  return named;
}

function allocatedFieldsOf(object: AnyObject): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const name of KINDS[object.kind].allocated) fields[name] = (object as unknown as Record<string, unknown>)[name];
  return fields;
}

function withoutUndefined(object: AnyObject): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}

export function titleOf(parsed: ParsedObject): string {
  const { nameWithin }: KindDefinition = KINDS[parsed.kind];
  const container = nameWithin === undefined ? '' : `${String(parsed.fields[nameWithin])}/`;
  return `${parsed.kind} ${parsed.tenant === undefined ? '' : `${parsed.tenant}/`}${container}${parsed.name}`;
}

/** RFC 7396 §2. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const isObject = typeof target === 'object' && target !== null && !Array.isArray(target);
  const merged = new Map<string, unknown>(isObject ? Object.entries(target) : []);
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key);
    else merged.set(key, mergePatch(merged.get(key), value));
  }
  return Object.fromEntries(merged);
}

/** The one object that a path or a query means. Throws `not-found`, or `invalid` where several fit. */
export function requireObject<K extends KindName>(
  index: ModelIndex,
  kind: K,
  text: string,
  tenant?: string,
  naming: Naming = 'beginnings',
): ObjectOfKind[K] {
  const owner = tenant === undefined ? undefined : requireObject(index, 'tenant', tenant, undefined, naming).id;
  const found: Found<KindName> = findObject(index, kind, text, owner, naming);
  if (found.object) return found.object as ObjectOfKind[K];
  const code = found.isAmbiguous ? 'invalid' : 'not-found';
  throw new WeftError(code, found.hint === undefined ? found.problem : `${found.problem}; ${found.hint}`);
}

/** The same for what is going to be changed: beginnings of ids do not count. */
export function requireWhole<K extends KindName>(
  index: ModelIndex,
  kind: K,
  text: string,
  tenant?: string,
): ObjectOfKind[K] {
  return requireObject(index, kind, text, tenant, 'whole');
}
