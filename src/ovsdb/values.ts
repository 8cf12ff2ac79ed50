import { DecodeError, WeftError } from '../base/errors.ts';

/**
 * RFC 7047 §5.1 notation both ways. On the wire a value is an atom, `["set", [atom…]]` or `["map", [[key, value]…]]`,
 * and only the column's type tells a string from an optional string. Here a column's type gives plain values:
 *
 *     shape      wire                        read as               written from
 *     scalar     5                           5                     the same
 *     optional   ["set",[]] or 5             undefined or 5        the same
 *     set        ["set",[1,2]] or 1          [1, 2]                any array
 *     map        ["map",[["a","b"]]]         Map { a → b }         a Map, or an object where keys are strings
 *     uuid       ["uuid","…"]                Uuid (a string)       a Uuid, or `named('x')` of the same transaction
 *
 * Integers are doubles: exact up to 2^53, rounded beyond (counters of bytes get there after nine petabytes).
 */

declare const uuidBrand: unique symbol;
/** A row's id, in lower case with hyphens. */
export type Uuid = string & { readonly [uuidBrand]: true };

/** A row that an insert of the same transaction makes (RFC 7047 §5.1 `<named-uuid>`). */
export interface NamedUuid {
  readonly namedUuid: string;
}

/** What each atomic type of a schema is here. */
export interface AtomTypes {
  string: string;
  integer: number;
  real: number;
  boolean: boolean;
  uuid: Uuid;
}
export type AtomType = keyof AtomTypes;
export const ATOM_TYPES = ['string', 'integer', 'real', 'boolean', 'uuid'] as const satisfies readonly AtomType[];

export type Atom = string | number | boolean;
/** Any value as it is read: what a replica's row holds in a column. */
export type Value = Atom | undefined | readonly Atom[] | ReadonlyMap<Atom, Atom>;

export interface ScalarType<K extends AtomType = AtomType> {
  readonly shape: 'scalar';
  readonly key: K;
}
export interface OptionalType<K extends AtomType = AtomType> {
  readonly shape: 'optional';
  readonly key: K;
}
export interface SetType<K extends AtomType = AtomType> {
  readonly shape: 'set';
  readonly key: K;
}
export interface MapType<K extends AtomType = AtomType, V extends AtomType = AtomType> {
  readonly shape: 'map';
  readonly key: K;
  readonly value: V;
}
export type ColumnType = ScalarType | OptionalType | SetType | MapType;

export const scalar = <K extends AtomType>(key: K): ScalarType<K> => ({ shape: 'scalar', key });
export const optional = <K extends AtomType>(key: K): OptionalType<K> => ({ shape: 'optional', key });
export const setOf = <K extends AtomType>(key: K): SetType<K> => ({ shape: 'set', key });
export const mapOf = <K extends AtomType, V extends AtomType>(key: K, value: V): MapType<K, V> => ({
  shape: 'map',
  key,
  value,
});

type WriteAtom<K extends AtomType> = K extends 'uuid' ? Uuid | NamedUuid : AtomTypes[K];

/** What a column of type `C` is read as. */
export type ReadValue<C> =
  C extends ScalarType<infer K>
    ? AtomTypes[K]
    : C extends OptionalType<infer K>
      ? AtomTypes[K] | undefined
      : C extends SetType<infer K>
        ? readonly AtomTypes[K][]
        : C extends MapType<infer K, infer V>
          ? ReadonlyMap<AtomTypes[K], AtomTypes[V]>
          : never;

/** What may be written to a column of type `C`. */
export type WriteValue<C> =
  C extends ScalarType<infer K>
    ? WriteAtom<K>
    : C extends OptionalType<infer K>
      ? WriteAtom<K> | undefined
      : C extends SetType<infer K>
        ? readonly WriteAtom<K>[]
        : C extends MapType<infer K, infer V>
          ?
              | ReadonlyMap<AtomTypes[K], WriteAtom<V>>
              | (K extends 'string' ? Readonly<Record<string, WriteAtom<V>>> : never)
          : never;

const UUID_PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
/** RFC 7047 §3.1 `<id>`: what may name a row within a transaction. */
const ID_PATTERN = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

export const ZERO_UUID = '00000000-0000-0000-0000-000000000000' as Uuid;

export function isUuid(text: unknown): text is Uuid {
  return typeof text === 'string' && UUID_PATTERN.test(text);
}

/** Throws `WeftError('invalid')` when `text` is not an id in OVSDB's form. */
export function parseUuid(text: string): Uuid {
  const lower = text.toLowerCase();
  if (!isUuid(lower)) throw new WeftError('invalid', `'${text}' is not a UUID`);
  return lower;
}

/** Refers to the row that `insert(…, { name })` of the same transaction makes. Throws `WeftError('invalid')` for a name that is no `<id>`. */
export function named(name: string): NamedUuid {
  if (!ID_PATTERN.test(name))
    throw new WeftError('invalid', `'${name}' cannot name a row: letters, digits and underscores, no digit first`);
  return { namedUuid: name };
}

const EMPTY_SET: readonly Atom[] = Object.freeze([]);
const EMPTY_MAP: ReadonlyMap<Atom, Atom> = new Map();

/** The value that a column has where nothing was written (RFC 7047 §5.2.1). Empty sets and maps are shared. */
export function defaultValue(type: ColumnType): Value {
  switch (type.shape) {
    case 'optional':
      return undefined;
    case 'set':
      return EMPTY_SET;
    case 'map':
      return EMPTY_MAP;
    case 'scalar':
      return { string: '', integer: 0, real: 0, boolean: false, uuid: ZERO_UUID }[type.key];
  }
}

function bad(field: string, detail: string): never {
  throw new DecodeError('bad-value', 0, field, detail);
}

function decodeAtom(type: AtomType, wire: unknown, field: string): Atom {
  switch (type) {
    case 'string':
      return typeof wire === 'string' ? wire : bad(field, 'a string wanted');
    case 'integer':
      return Number.isInteger(wire) && Math.abs(wire as number) <= 2 ** 63
        ? (wire as number)
        : bad(field, 'a 64-bit integer wanted');
    case 'real':
      return Number.isFinite(wire) ? (wire as number) : bad(field, 'a number wanted');
    case 'boolean':
      return typeof wire === 'boolean' ? wire : bad(field, 'a boolean wanted');
    case 'uuid':
      return Array.isArray(wire) && wire.length === 2 && wire[0] === 'uuid' && isUuid(wire[1])
        ? wire[1]
        : bad(field, '["uuid", …] wanted');
  }
}

/** The atoms of `["set", […]]`, or of an atom alone, which is how one element may be written. */
function decodeSet(type: AtomType, wire: unknown, field: string): readonly Atom[] {
  if (!Array.isArray(wire) || wire[0] !== 'set') return [decodeAtom(type, wire, field)];
  const items: unknown = wire[1];
  if (wire.length !== 2 || !Array.isArray(items)) bad(field, '["set", […]] wanted');
  if (items.length === 0) return EMPTY_SET;
  const atoms = items.map((item) => decodeAtom(type, item, field));
  if (atoms.length > 1 && new Set(atoms).size !== atoms.length) bad(field, 'an element twice in a set');
  return atoms;
}

/** Keys of maps repeat in every row (`iface-id`, `attached-mac`, …): one copy of each is kept. */
const knownKeys = new Map<string, string>();
const KNOWN_KEYS_LIMIT = 1000;

function sharedKey(key: Atom): Atom {
  if (typeof key !== 'string') return key;
  const known = knownKeys.get(key);
  if (known !== undefined) return known;
  if (knownKeys.size < KNOWN_KEYS_LIMIT) knownKeys.set(key, key);
  return key;
}

function decodeMap(type: MapType, wire: unknown, field: string): ReadonlyMap<Atom, Atom> {
  const pairs: unknown = Array.isArray(wire) && wire.length === 2 && wire[0] === 'map' ? wire[1] : undefined;
  if (!Array.isArray(pairs)) bad(field, '["map", […]] wanted');
  if (pairs.length === 0) return EMPTY_MAP;
  const map = new Map<Atom, Atom>();
  for (const pair of pairs as unknown[]) {
    if (!Array.isArray(pair) || pair.length !== 2) bad(field, 'a pair wanted');
    map.set(sharedKey(decodeAtom(type.key, pair[0], field)), decodeAtom(type.value, pair[1], field));
  }
  if (map.size !== pairs.length) bad(field, 'a key twice in a map');
  return map;
}

/** Wire to plain value. `field` is named in the `DecodeError` that anything of another type gives. */
export function decodeValue(type: ColumnType, wire: unknown, field: string): Value {
  switch (type.shape) {
    case 'scalar':
      return decodeAtom(type.key, wire, field);
    case 'set':
      return decodeSet(type.key, wire, field);
    case 'map':
      return decodeMap(type, wire, field);
    case 'optional': {
      const atoms = decodeSet(type.key, wire, field);
      return atoms.length > 1 ? bad(field, 'at most one element wanted') : atoms[0];
    }
  }
}

function invalid(field: string, type: AtomType, value: unknown): never {
  throw new WeftError('invalid', `${field}: ${type} wanted, ${typeof value} '${String(value)}' given`);
}

function encodeAtom(type: AtomType, value: unknown, field: string): unknown {
  switch (type) {
    case 'string':
      return typeof value === 'string' ? value : invalid(field, type, value);
    case 'integer':
      return Number.isSafeInteger(value) ? value : invalid(field, type, value);
    case 'real':
      return Number.isFinite(value) ? value : invalid(field, type, value);
    case 'boolean':
      return typeof value === 'boolean' ? value : invalid(field, type, value);
    case 'uuid':
      if (isUuid(value)) return ['uuid', value];
      if (typeof value === 'object' && value !== null && 'namedUuid' in value) return ['named-uuid', value.namedUuid];
      return invalid(field, type, value);
  }
}

/** Plain value to wire. Throws `WeftError('invalid')` naming `field` where the value is not of the type. */
export function encodeValue(type: ColumnType, value: unknown, field: string): unknown {
  switch (type.shape) {
    case 'scalar':
      return encodeAtom(type.key, value, field);
    case 'optional':
      return value === undefined ? ['set', []] : encodeAtom(type.key, value, field);
    case 'set':
      if (!Array.isArray(value)) throw new WeftError('invalid', `${field}: an array wanted`);
      return ['set', value.map((item) => encodeAtom(type.key, item, field))];
    case 'map': {
      if (typeof value !== 'object' || value === null) throw new WeftError('invalid', `${field}: a map wanted`);
      const entries = value instanceof Map ? [...(value as Map<unknown, unknown>)] : Object.entries(value);
      return [
        'map',
        entries.map(([key, item]) => [encodeAtom(type.key, key, field), encodeAtom(type.value, item, field)]),
      ];
    }
  }
}

/** Are two values of one column the same? Sets and maps have no order. */
export function equalValues(a: Value, b: Value): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) {
    if (a.length !== b.length) return false;
    if (a.every((item, i) => item === b[i])) return true;
    const members = new Set<Atom>(b as readonly Atom[]);
    return (a as readonly Atom[]).every((item) => members.has(item));
  }
  if (a instanceof Map && b instanceof Map) {
    if (a.size !== b.size) return false;
    for (const [key, item] of a as Map<Atom, Atom>) if (b.get(key) !== item) return false;
    return true;
  }
  return false;
}

/**
 * The value after a `modify` of monitor_cond: what is single is replaced; a set's difference holds the elements of only
 * one of the two sets; a map's holds pairs that are gone, new or changed (ovsdb-server(7) §4.1.14).
 */
export function applyDifference(type: ColumnType, old: Value, difference: Value): Value {
  if (type.shape === 'set') {
    const members = new Set(old as readonly Atom[]);
    for (const item of difference as readonly Atom[]) if (!members.delete(item)) members.add(item);
    return members.size === 0 ? EMPTY_SET : [...members];
  }
  if (type.shape === 'map') {
    const map = new Map(old as ReadonlyMap<Atom, Atom>);
    for (const [key, item] of difference as ReadonlyMap<Atom, Atom>)
      if (map.get(key) === item) map.delete(key);
      else map.set(key, item);
    return map.size === 0 ? EMPTY_MAP : map;
  }
  return difference;
}
