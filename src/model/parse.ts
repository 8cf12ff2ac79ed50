import { z } from 'zod';
import { parseCidr } from '../base/addresses.ts';
import { shown } from '../base/shown.ts';
import { KIND_NAMES, type KindName } from './kind.ts';
import { idSchema, nameSchema, refSchema } from './kinds/common.ts';
import { KINDS } from './kinds.ts';
import { didYouMean } from './near.ts';
import type { Problem } from './problem.ts';
import { kindOfValue } from './wording.ts';

/** An object as written: of the right form, defaults filled in, references still names or ids. */
export interface ParsedObject {
  readonly kind: KindName;
  readonly name: string;
  readonly id?: string;
  /** A reference. */
  readonly tenant?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly fields: Readonly<Record<string, unknown>>;
}

export type Parsed =
  | { readonly object: ParsedObject; readonly problems?: undefined }
  | { readonly object?: undefined; readonly problems: readonly Problem[] };

/** The envelope as people write it. */
export const envelopeSchema = z.strictObject({
  name: nameSchema,
  tenant: refSchema.optional(),
  id: idSchema.optional(),
  labels: z
    .record(
      z.string().regex(/^[a-zA-Z0-9]([a-zA-Z0-9._/-]{0,126}[a-zA-Z0-9])?$/, 'a label is letters, digits and ._/-'),
      z.string().max(256),
    )
    .optional(),
});

/** What answers carry and nobody writes: ignored, so that what was read can be sent back. */
const ANSWER_ONLY = new Set(['revision', 'applySet', 'status', 'names']);
const ENVELOPE = new Set(Object.keys(envelopeSchema.shape));

/** A field that objects of every kind have. */
export function isOfEnvelope(field: string): boolean {
  return ENVELOPE.has(field) || ANSWER_ONLY.has(field);
}

/**
 * Checks one object's form and fills in defaults. `raw` is what JSON or YAML gave; `kind` where the place tells it (an
 * API path). Every problem is reported, not only the first; nothing is thrown.
 */
export function parseObject(raw: unknown, where: string, kind?: KindName): Parsed {
  const refuse = (code: Problem['code'], path: string, message: string, hint?: { readonly hint?: string }): Parsed => ({
    problems: [{ object: where, path, code, message, ...hint }],
  });
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw))
    return refuse('schema', '', `an object is wanted, not ${kindOfValue(raw)}`);
  const { kind: given, ...rest } = raw as Record<string, unknown>;
  if (kind !== undefined && given !== undefined && given !== kind)
    return refuse('kind', 'kind', `the kind here is ${kind}, not ${JSON.stringify(given)}`);
  const wanted = kind ?? given;
  if (wanted === undefined) return refuse('kind', 'kind', `kind is missing; one of ${KIND_NAMES.join(', ')}`);
  if (typeof wanted !== 'string' || !KIND_NAMES.includes(wanted as KindName))
    return refuse(
      'kind',
      'kind',
      `there is no kind ${shown(JSON.stringify(wanted))}; one of ${KIND_NAMES.join(', ')}`,
      {
        ...(typeof wanted === 'string' ? didYouMean(wanted, KIND_NAMES) : {}),
      },
    );
  return parseOfKind(wanted as KindName, rest, where);
}

function parseOfKind(kind: KindName, raw: Record<string, unknown>, where: string): Parsed {
  const definition = KINDS[kind];
  // YAML's `field:` with nothing behind it means "not given", as does null in a merge patch.
  const given = Object.entries(raw).filter(([key, value]) => value !== null && !ANSWER_ONLY.has(key));
  const envelope: Record<string, unknown> = Object.fromEntries(given.filter(([key]) => ENVELOPE.has(key)));
  const fields: Record<string, unknown> = Object.fromEntries(given.filter(([key]) => !ENVELOPE.has(key)));
  const object = nameOfRaw(kind, envelope, where);
  const problems: Problem[] = [];
  const head = envelopeSchema.safeParse(envelope);
  if (!head.success) problems.push(...problemsOfZod(head.error, object, [...ENVELOPE]));
  const body = definition.schema.safeParse(fields);
  if (!body.success)
    problems.push(...problemsOfZod(body.error, object, [...Object.keys(definition.schema.shape), ...ENVELOPE]));
  if (definition.tenantOwned && envelope.tenant === undefined)
    problems.push({ object, path: 'tenant', code: 'schema', message: `a ${kind} belongs to a tenant: give its name` });
  if (!definition.tenantOwned && envelope.tenant !== undefined)
    problems.push({ object, path: 'tenant', code: 'schema', message: `a ${kind} belongs to no tenant` });
  if (problems.length > 0 || !head.success || !body.success) return { problems };
  return { object: { kind, ...head.data, fields: normalise(kind, body.data) } };
}

/** What the schema leaves open although it follows from the rest. */
function normalise(kind: KindName, fields: Record<string, unknown>): Record<string, unknown> {
  if (kind !== 'switch') return fields;
  const subnets = fields.subnets as z.output<typeof KINDS.switch.schema>['subnets'];
  return {
    ...fields,
    subnets: subnets.map((subnet) => {
      const cidr = parseCidr(subnet.cidr)!;
      if (cidr.ip.version === 4 || subnet.ipv6Mode !== undefined) return subnet;
      return { ...subnet, ipv6Mode: cidr.prefix === 64 ? 'slaac' : 'stateful' };
    }),
  };
}

/** Zod's issues as problems, one per unknown field, with the branch of a union that came nearest. */
export function problemsOfZod(error: z.ZodError, object: string, knownFields: readonly string[]): Problem[] {
  return error.issues.flatMap((issue) => problemsOfIssue(issue, [], object, knownFields));
}

function problemsOfIssue(
  issue: z.core.$ZodIssue,
  above: readonly PropertyKey[],
  object: string,
  knownFields: readonly string[],
): Problem[] {
  const path = [...above, ...issue.path];
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => ({
      object,
      path: pathText([...path, key]),
      code: 'schema',
      message: `there is no field "${shown(key)}" here`,
      ...(path.length === 0 ? didYouMean(key, knownFields) : {}),
    }));
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    // The branch that got furthest (fewest problems, deepest) is the one that was meant.
    const ranked = issue.errors.toSorted((a, b) => a.length - b.length || depthOf(b) - depthOf(a));
    return ranked[0]!.flatMap((inner) => problemsOfIssue(inner, path, object, knownFields));
  }
  return [{ object, path: pathText(path), code: 'schema', message: issue.message }];
}

function depthOf(issues: readonly z.core.$ZodIssue[]): number {
  return Math.max(0, ...issues.map((issue) => issue.path.length));
}

export function pathText(path: readonly PropertyKey[]): string {
  return path
    .map((part, index) => (typeof part === 'number' ? `[${part}]` : `${index > 0 ? '.' : ''}${String(part)}`))
    .join('');
}

function nameOfRaw(kind: KindName, envelope: Record<string, unknown>, where: string): string {
  if (typeof envelope.name !== 'string') return `${kind} (${where})`;
  return `${kind} ${typeof envelope.tenant === 'string' ? `${shown(envelope.tenant)}/` : ''}${shown(envelope.name)}`;
}
