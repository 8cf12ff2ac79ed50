import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { containerName, withReferenceNames } from '../model/describe.ts';
import type { DraftChange } from '../model/draft.ts';
import { KIND_NAMES, type KindName } from '../model/kind.ts';
import { HIDDEN } from '../model/kinds/bgp.ts';
import { nameSchema } from '../model/kinds/common.ts';
import type { ModelIndex } from '../model/model-index.ts';
import type { AnyObject, Router } from '../model/objects.ts';
import { isOfEnvelope, type ParsedObject, parseObject, problemsOfZod } from '../model/parse.ts';
import { patternOf, textsAt } from '../model/paths.ts';
import { type Problem, problemsError } from '../model/problem.ts';
import { isObject } from '../model/relations.ts';
import { resolveObject } from '../model/resolve.ts';
import { checkRules } from '../model/rules.ts';
import { secretsOf } from '../model/secrets.ts';
import { snatAddresses } from '../model/snat.ts';
import { announce, type Mutation, putObject, removeObject, titleOf } from './mutations.ts';
import { MOST_OBJECTS_IN_REQUEST } from './protocol.ts';

const TOO_MANY = `at most ${MOST_OBJECTS_IN_REQUEST.toLocaleString('en')} objects in one request: apply them in parts`;

/** `POST /v1/apply`: these objects shall be so. */
export const applyRequestSchema = z.strictObject({
  objects: z.array(z.unknown()).max(MOST_OBJECTS_IN_REQUEST, TOO_MANY),
  /** The set that the objects belong to from now on. */
  applySet: nameSchema.optional(),
  /** Delete what belongs to the set and is not among the objects. */
  prune: z.boolean().default(false),
  /** Say what would happen, and change nothing. */
  dryRun: z.boolean().default(false),
});
export type ApplyRequest = z.output<typeof applyRequestSchema>;

export interface PlannedChange {
  readonly action: 'create' | 'update' | 'delete' | 'unchanged';
  readonly kind: KindName;
  readonly id: string;
  readonly name: string;
  /** The tenant's name. */
  readonly tenant?: string;
  /** The name of what it is named within: a rule's chain, a router port's router. */
  readonly within?: string;
  /** References as names. For creations only in a dry run: the objects are in the request. */
  readonly changes: readonly FieldChange[];
}

export interface FieldChange {
  /** Such as `subnets[0].gateway`. */
  readonly path: string;
  readonly before?: unknown;
  readonly after?: unknown;
  /** Of a creation that is not yet: the server chose it, and may choose another when it is written. */
  readonly isAllocated?: true;
}

/** Throws `invalid` with every problem. */
export function parseApplyRequest(body: unknown): ApplyRequest {
  const parsed = applyRequestSchema.safeParse(body);
  const shape = Object.keys(applyRequestSchema.shape);
  if (!parsed.success) throw problemsError(problemsOfZod(parsed.error, 'apply request', shape));
  if (parsed.data.prune && parsed.data.applySet === undefined) {
    const message = 'prune deletes objects of an apply set: name one in applySet';
    throw problemsError([{ object: 'apply request', path: 'applySet', code: 'schema', message }]);
  }
  return parsed.data;
}

/** Does all of it to the draft and says what that is, object by object in the order of the request. */
export function applyObjects(mutation: Mutation, request: ApplyRequest): readonly PlannedChange[] {
  const { draft } = mutation;
  const problems: Problem[] = [];
  const report = (problem: Problem): void => void problems.push(problem);
  const { parsed, failed, malformed } = parseAll(request.objects, report);
  const written = new Map<ParsedObject, AnyObject>();
  mutation.allocator.avoid(namedAddresses(parsed));
  for (const kind of KIND_NAMES) {
    const ofKind = parsed.filter((object) => object.kind === kind);
    const shells = announce(mutation, ofKind);
    for (const object of ofKind) {
      const ownProblems: Problem[] = [];
      const shell = shells.get(object);
      const options = {
        ...(request.applySet === undefined ? {} : { applySet: request.applySet }),
        ...(shell ? { shell } : {}),
      };
      const put = putObject(mutation, object, titleOf(object), (problem) => ownProblems.push(problem), options);
      if (put) written.set(object, put);
      // What refers to an object that is itself refused would only say so a second time.
      for (const problem of ownProblems) if (!isConsequence(problem, object, failed)) report(problem);
      if (ownProblems.length > 0) failed.add(object.name);
    }
  }
  mutation.allocator.avoid(new Set());
  for (const object of malformed)
    for (const problem of resolveObject(draft.index, object, '', titleOf(object)).problems ?? [])
      if (!isConsequence(problem, object, failed)) report(problem);
  if (request.prune && request.applySet !== undefined && failed.size === 0)
    prune(mutation, request.applySet, new Set([...written.values()].map((object) => object.id)));
  const changes = draft.changes();
  for (const problem of checkRules(draft.index, changes)) report(problem);
  if (problems.length > 0) throw problemsError(problems);
  return planOf(draft.index, written, changes, request.dryRun);
}

/** Addresses that the objects give by name, on whichever switch. */
function namedAddresses(objects: readonly ParsedObject[]): ReadonlySet<string> {
  const found = new Set<string>();
  for (const { kind, fields } of objects) {
    for (const path of kind === 'addressSet' ? [] : ['addresses[]', 'address'])
      for (const { text } of textsAt(fields, path)) found.add(text.split('/')[0]!);
    if (kind === 'router') for (const address of snatAddresses(fields as Pick<Router, 'snat'>)) found.add(address);
  }
  return found;
}

function parseAll(
  objects: readonly unknown[],
  report: (problem: Problem) => void,
): {
  readonly parsed: readonly ParsedObject[];
  /** Names of objects that cannot be written. */
  readonly failed: Set<string>;
  /** Those of a known kind whose form is wrong: what they refer to is looked at all the same. */
  readonly malformed: readonly ParsedObject[];
} {
  const parsed: ParsedObject[] = [];
  const malformed: ParsedObject[] = [];
  const failed = new Set<string>();
  for (const [at, raw] of objects.entries()) {
    const one = parseObject(raw, `objects[${at}]`);
    if (one.object) parsed.push(one.object);
    else {
      for (const problem of one.problems) report(problem);
      if (typeof raw !== 'object' || raw === null || !('name' in raw)) continue;
      failed.add(String(raw.name));
      const { kind, name, tenant, ...fields } = raw as Record<string, unknown>;
      const isKnown = KIND_NAMES.includes(kind as KindName);
      if (isKnown && typeof name === 'string' && (tenant === undefined || typeof tenant === 'string'))
        malformed.push({ kind: kind as KindName, name, ...(tenant === undefined ? {} : { tenant }), fields });
    }
  }
  return { parsed, failed, malformed };
}

function isConsequence(problem: Problem, object: ParsedObject, failed: ReadonlySet<string>): boolean {
  if (problem.code !== 'reference') return false;
  const text =
    problem.path === 'tenant'
      ? object.tenant
      : textsAt(object.fields, patternOf(problem.path)).find(({ path }) => path === problem.path)?.text;
  return text !== undefined && failed.has(text.slice(text.indexOf('/') + 1));
}

/** Deletes what the set holds beside the objects, those that refer before those they refer to. */
function prune(mutation: Mutation, applySet: string, keep: ReadonlySet<string>): void {
  const surplus = [...mutation.draft.index.objectsOfApplySet(applySet)].filter((object) => !keep.has(object.id));
  for (const kind of KIND_NAMES.toReversed())
    for (const object of surplus) if (object.kind === kind) removeObject(mutation, object);
}

function planOf(
  index: ModelIndex,
  written: ReadonlyMap<ParsedObject, AnyObject>,
  changes: readonly DraftChange[],
  withFieldsOfCreations: boolean,
): readonly PlannedChange[] {
  const changeOf = new Map(changes.map((change) => [`${change.kind}/${change.id}`, change]));
  const plan = [...written].map(([asked, object]) => {
    const change = changeOf.get(`${object.kind}/${object.id}`);
    if (!change) return planned(index, 'unchanged', object, []);
    const before = change.before as AnyObject | undefined;
    if (before) return planned(index, 'update', object, diffObjects(index, before, object));
    return planned(index, 'create', object, withFieldsOfCreations ? creation(index, asked, object) : []);
  });
  for (const { before, after } of changes)
    if (before && !after && isObject(before)) plan.push(planned(index, 'delete', before, []));
  return plan;
}

function creation(index: ModelIndex, { fields }: ParsedObject, object: AnyObject): readonly FieldChange[] {
  return diffObjects(index, undefined, object).map((change) =>
    change.path in fields || isOfEnvelope(change.path) ? change : { ...change, isAllocated: true },
  );
}

function planned(
  index: ModelIndex,
  action: PlannedChange['action'],
  object: AnyObject,
  changes: readonly FieldChange[],
): PlannedChange {
  const { kind, id, name, tenant } = object;
  const owner = tenant === undefined ? {} : { tenant: index.get('tenant', tenant)?.name ?? tenant };
  const container = containerName(index, object);
  return { action, kind, id, name, ...owner, ...(container === undefined ? {} : { within: container }), changes };
}

const NOT_COMPARED = new Set(['kind', 'id', 'revision', 'tenant']);

/** The fields that differ, down to values in objects and lists; references as names. */
export function diffObjects(
  index: ModelIndex,
  before: AnyObject | undefined,
  after: AnyObject,
): readonly FieldChange[] {
  const changes: FieldChange[] = [];
  const fields = (object: AnyObject): Record<string, unknown> => ({ ...withReferenceNames(index, object) });
  const old = before ? fields(before) : {};
  const now = fields(after);
  const secrets = secretsOf(after.kind);
  for (const key of new Set([...Object.keys(old), ...Object.keys(now)])) {
    if (NOT_COMPARED.has(key)) continue;
    if (secrets.includes(key)) {
      // That it is another, not which.
      const hidden = (value: unknown): unknown => (value === undefined ? undefined : HIDDEN);
      if (old[key] !== now[key]) changes.push(fieldChange(key, hidden(old[key]), hidden(now[key])));
    } else if (before) diffValues(key, old[key], now[key], changes);
    else changes.push({ path: key, after: now[key] });
  }
  return changes;
}

function diffValues(path: string, before: unknown, after: unknown, changes: FieldChange[]): void {
  if (isDeepStrictEqual(before, after)) return;
  if (Array.isArray(before) && Array.isArray(after) && before.length === after.length) {
    for (const [at, value] of before.entries()) diffValues(`${path}[${at}]`, value, after[at], changes);
    return;
  }
  if (isPlainObject(before) && isPlainObject(after)) {
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)]))
      diffValues(`${path}.${key}`, before[key], after[key], changes);
    return;
  }
  changes.push(fieldChange(path, before, after));
}

function fieldChange(path: string, before: unknown, after: unknown): FieldChange {
  return { path, ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) };
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
