import type { z } from 'zod';

/**
 * What every kind of object has. Owned by `src/model`: kinds, their schemas, references between them, and the rules
 * that a whole model must keep. Not here: how objects are stored (`store`), served (`server`) or compiled (`compile`).
 */

/** Where a reference stands in an object and what it must lead to. `path` uses `[]` for "each of": `members[].port`. */
export interface Reference {
  readonly path: string;
  readonly kind: KindName;
  /** Must the target belong to the same tenant as the object? */
  readonly sameTenant: boolean;
  /** What happens to the object when the target is deleted: refused while it refers (`restrict`). */
  readonly onDelete: 'restrict';
}

/** One kind: the single source of validation, types, OpenAPI and CLI help. */
export interface KindDefinition<S extends z.ZodObject = z.ZodObject> {
  readonly kind: KindName;
  /** As in the API path and in `weft get switches`. */
  readonly plural: string;
  /** One line for CLI help. */
  readonly about: string;
  /** Does each object belong to a tenant? Names are unique per tenant and kind, otherwise per kind. */
  readonly tenantOwned: boolean;
  /** Names are unique below this reference instead (a rule's name below its chain), where given. */
  readonly nameWithin?: string;
  /** The fields beside the envelope. */
  readonly schema: S;
  readonly references: readonly Reference[];
  /** Which fields the server fills in when they are not given. */
  readonly allocated: readonly string[];
  /** Fields that are written and never shown. */
  readonly secret?: readonly string[];
  /** Columns of `weft get`, as paths. */
  readonly columns: readonly string[];
}

/** Kinds that people write. */
export const KIND_NAMES = [
  'tenant',
  'tunnelZone',
  'host',
  'addressSet',
  'securityGroup',
  'chain',
  'rule',
  'switch',
  'port',
  'router',
  'routerPort',
  'floatingAddress',
  'loadBalancer',
  'mirror',
  'bgpPeer',
  'l2Gateway',
  'vtep',
  'vtepBinding',
] as const;
export type KindName = (typeof KIND_NAMES)[number];

/** The envelope: what the server keeps about every object beside its fields. */
export interface Envelope {
  readonly kind: KindName;
  /** UUID (RFC 9562); a client may choose it on creation (libvirt's `interfaceid` is one). */
  readonly id: string;
  readonly name: string;
  /** The tenant's id; absent for kinds of the operator. */
  readonly tenant?: string;
  /** Store revision of the last change. */
  readonly revision: number;
  /** The apply set that owns the object, if any. */
  readonly applySet?: string;
  readonly labels?: Readonly<Record<string, string>>;
}
