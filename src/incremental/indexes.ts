/** The inputs: records, their fields, and the groups that indexes sort them into. */
import { assert } from '../base/errors.ts';
import type { Index, IndexEntry } from './definitions.ts';
import { type Graph, Source } from './graph.ts';
import type { Problems } from './problems.ts';
import { equalValues, lowerBound, messageOf } from './values.ts';

/** A record, or the absence of one that somebody asked for. */
export class RecordNode extends Source {
  readonly kind: string;
  readonly id: string;
  /** Undefined: there is no such record. */
  value: unknown = undefined;
  /** The fields that somebody reads by themselves. */
  fields: FieldNode[] | undefined = undefined;

  constructor(kind: string, id: string) {
    super();
    this.kind = kind;
    this.id = id;
  }

  get label(): string {
    return `${this.kind}/${this.id}`;
  }

  field(name: string): FieldNode {
    let field = this.fields?.find((known) => known.name === name);
    if (field === undefined) {
      field = new FieldNode(this, name);
      this.fields = this.fields === undefined ? [field] : this.fields.concat(field);
    }
    return field;
  }
}

export class FieldNode extends Source {
  readonly record: RecordNode;
  readonly name: string;

  constructor(record: RecordNode, name: string) {
    super();
    this.record = record;
    this.name = name;
  }

  get label(): string {
    return `${this.record.label}.${this.name}`;
  }

  get value(): unknown {
    return fieldOf(this.record.value, this.name);
  }
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

/** Up to how many members are changed one by one. */
const FEW = 8;
const EMPTY: readonly string[] = [];
const NO_ENTRIES: readonly IndexEntry[] = [];

/** One group of an index: a sorted list of members. */
export class GroupNode extends Source {
  readonly table: IndexTable;
  readonly group: string;
  members: readonly string[] = EMPTY;
  /** How many records give each member; undefined while each is given once. */
  #counts: number[] | undefined = undefined;
  /** What the update under way adds to the counts. */
  #deltas: Map<string, number> | undefined = undefined;

  constructor(table: IndexTable, group: string) {
    super();
    this.table = table;
    this.group = group;
  }

  get label(): string {
    return `${this.table.index.name}/${this.group}`;
  }

  /** Says whether it is the first since the last `settle`. */
  add(member: string, count: 1 | -1): boolean {
    const isFirst = this.#deltas === undefined;
    this.#deltas ??= new Map();
    this.#deltas.set(member, (this.#deltas.get(member) ?? 0) + count);
    return isFirst;
  }

  /** Takes in what was added; says whether the set of members is another one. Lists handed out before stay as they were. */
  settle(): boolean {
    const deltas = this.#deltas ?? new Map<string, number>();
    this.#deltas = undefined;
    let isChanged = false;
    const touched: string[] = [];
    for (const [member, delta] of deltas) {
      if (delta === 0) continue;
      touched.push(member);
      const before = this.#countOf(member);
      if (before === 0 || before + delta === 0) isChanged = true;
    }
    if (isChanged && touched.length > FEW) this.#rebuild(touched.sort(), deltas);
    else if (isChanged) for (const member of touched) this.#set(member, this.#countOf(member) + deltas.get(member)!);
    else for (const member of touched) this.#recount(member, deltas.get(member)!);
    return isChanged;
  }

  #countOf(member: string): number {
    const at = lowerBound(this.members, member);
    return this.members[at] === member ? (this.#counts?.[at] ?? 1) : 0;
  }

  #recount(member: string, delta: number): void {
    this.#counts ??= new Array<number>(this.members.length).fill(1);
    this.#counts[lowerBound(this.members, member)]! += delta;
  }

  /** One member, by block copies: one more in ten thousand costs microseconds. */
  #set(member: string, count: number): void {
    const at = lowerBound(this.members, member);
    const old = this.members[at] === member ? 1 : 0;
    if (this.#counts === undefined && count > 1) this.#counts = new Array<number>(this.members.length).fill(1);
    this.#counts?.splice(at, old, ...(count > 0 ? [count] : []));
    if (count === 0) this.members = this.members.toSpliced(at, old);
    else if (old === 0) this.members = this.members.toSpliced(at, 0, member);
  }

  /** Many members, by one pass. */
  #rebuild(touched: readonly string[], deltas: ReadonlyMap<string, number>): void {
    const members: string[] = [];
    const counts: number[] = [];
    let from = 0;
    const keepTo = (end: number): void => {
      for (; from < end; from++) {
        members.push(this.members[from]!);
        counts.push(this.#counts?.[from] ?? 1);
      }
    };
    for (const member of touched) {
      keepTo(lowerBound(this.members, member, from));
      const count = this.#countOf(member) + deltas.get(member)!;
      if (this.members[from] === member) from++;
      if (count > 0) {
        members.push(member);
        counts.push(count);
      }
    }
    keepTo(this.members.length);
    this.members = members.slice(); // without the room that pushing left
    this.#counts = counts.some((count) => count > 1) ? counts : undefined;
  }
}

/** Who wants to know of keys that appear and vanish: units over a kind or an index. */
export interface KeyListener {
  appeared(key: string): void;
  vanished(key: string): void;
}

export class IndexTable {
  readonly index: Index;
  readonly groups = new Map<string, GroupNode>();
  readonly listeners: KeyListener[] = [];

  constructor(index: Index) {
    this.index = index;
  }

  group(name: string): GroupNode {
    let group = this.groups.get(name);
    if (group === undefined) {
      group = new GroupNode(this, name);
      this.groups.set(name, group);
    }
    return group;
  }
}

export class KindTable {
  readonly kind: string;
  readonly records = new Map<string, RecordNode>();
  readonly indexes: IndexTable[] = [];
  readonly listeners: KeyListener[] = [];

  constructor(kind: string) {
    this.kind = kind;
  }

  record(id: string): RecordNode {
    let record = this.records.get(id);
    if (record === undefined) {
      record = new RecordNode(this.kind, id);
      this.records.set(id, record);
    }
    return record;
  }
}

export class Inputs {
  readonly kinds = new Map<string, KindTable>();
  readonly indexes = new Map<Index, IndexTable>();
  readonly #graph: Graph;
  readonly #problems: Problems;
  /** Groups that the update under way has touched. */
  #touched: GroupNode[] = [];

  constructor(graph: Graph, problems: Problems) {
    this.#graph = graph;
    this.#problems = problems;
  }

  kind(name: string): KindTable {
    let table = this.kinds.get(name);
    if (table === undefined) {
      table = new KindTable(name);
      this.kinds.set(name, table);
    }
    return table;
  }

  /** Also fills an index that becomes known when there are records already. */
  index(index: Index): IndexTable {
    let table = this.indexes.get(index);
    if (table !== undefined) return table;
    for (const known of this.indexes.keys())
      assert(known.name !== index.name, `two indexes are called '${index.name}'`);
    table = new IndexTable(index);
    this.indexes.set(index, table);
    for (const kind of Object.keys(index.sources)) {
      const { indexes, records } = this.kind(kind);
      indexes.push(table);
      for (const record of records.values()) {
        if (record.value !== undefined) this.#recount(table, record, undefined, record.value);
      }
    }
    this.settle();
    return table;
  }

  /** The final value of a record in this update (undefined: none). `settle` has to follow. */
  assign(table: KindTable, id: string, value: unknown): void {
    const known = table.records.get(id);
    const before = known?.value;
    if (equalValues(before, value)) return;
    const record = known ?? table.record(id);
    record.value = value;
    this.#graph.changed(record);
    for (const field of record.fields ?? []) {
      if (!equalValues(fieldOf(before, field.name), fieldOf(value, field.name))) this.#graph.changed(field);
    }
    for (const index of table.indexes) {
      this.#recount(index, record, before, value);
    }
    if (before === undefined) for (const listener of table.listeners) listener.appeared(id);
    if (value === undefined) {
      for (const listener of table.listeners) listener.vanished(id);
      this.#graph.orphans.push(record);
    }
  }

  /** Makes the changes of groups known. */
  settle(): void {
    for (const group of this.#touched) {
      const wasEmpty = group.members.length === 0;
      const isChanged = group.settle();
      const isEmpty = group.members.length === 0;
      if (isEmpty) this.#graph.orphans.push(group);
      if (!isChanged) continue;
      this.#graph.changed(group);
      if (wasEmpty) for (const listener of group.table.listeners) listener.appeared(group.group);
      else if (isEmpty) for (const listener of group.table.listeners) listener.vanished(group.group);
    }
    this.#touched = [];
  }

  /**
   * What the record was counted for is worked out again rather than kept: index functions are pure. Entries that stand at the
   * beginning or the end of both lists stay as they are: of a long list with one more most do.
   */
  #recount(table: IndexTable, record: RecordNode, before: unknown, after: unknown): void {
    const old = before === undefined ? NO_ENTRIES : this.#entries(table, record, before, -1);
    const now = after === undefined ? NO_ENTRIES : this.#entries(table, record, after, 1);
    if (after === undefined) this.#forget(table, record);
    let from = 0;
    let [oldEnd, nowEnd] = [old.length, now.length];
    while (from < oldEnd && from < nowEnd && sameEntry(old[from]!, now[from]!)) from++;
    while (oldEnd > from && nowEnd > from && sameEntry(old[oldEnd - 1]!, now[nowEnd - 1]!)) {
      oldEnd--;
      nowEnd--;
    }
    for (let i = from; i < oldEnd; i++) this.#count(table, record, old[i]!, -1);
    for (let i = from; i < nowEnd; i++) this.#count(table, record, now[i]!, 1);
  }

  #count(table: IndexTable, record: RecordNode, entry: IndexEntry, count: 1 | -1): void {
    const [name, member] = typeof entry === 'string' ? [entry, record.id] : entry;
    const group = table.group(name);
    if (group.add(member, count)) this.#touched.push(group);
  }

  #entries(table: IndexTable, record: RecordNode, value: unknown, count: 1 | -1): readonly IndexEntry[] {
    try {
      const entries = table.index.sources[record.kind]!(value, record.id);
      if (count === 1) this.#forget(table, record);
      return entries;
    } catch (error) {
      const name = `${table.index.name}/${record.label}`;
      if (count === 1) this.#problems.set('index', name, { message: messageOf(error), units: [], error });
      return [];
    }
  }

  #forget(table: IndexTable, record: RecordNode): void {
    if (!this.#problems.areNone) this.#problems.set('index', `${table.index.name}/${record.label}`, undefined);
  }

  /** The groups that a record is in. */
  groupsOf(record: RecordNode): GroupNode[] {
    const found: GroupNode[] = [];
    if (record.value === undefined) return found;
    for (const table of this.kind(record.kind).indexes) {
      for (const entry of this.#entries(table, record, record.value, -1)) {
        const group = table.groups.get(typeof entry === 'string' ? entry : entry[0]);
        if (group !== undefined) found.push(group);
      }
    }
    return found;
  }
}

function sameEntry(a: IndexEntry, b: IndexEntry): boolean {
  if (typeof a === 'string' || typeof b === 'string') return a === b;
  return a[0] === b[0] && a[1] === b[1];
}

/** Lets go of what is neither there nor read. */
export function dropUnused(inputs: Inputs, source: RecordNode | FieldNode | GroupNode): void {
  if (source.readers !== undefined) return;
  if (source instanceof FieldNode) {
    const { record } = source;
    const rest = record.fields?.filter((field) => field !== source) ?? [];
    record.fields = rest.length > 0 ? rest : undefined;
    dropUnused(inputs, record);
  } else if (source instanceof GroupNode) {
    const { groups } = source.table;
    if (source.members.length === 0 && groups.get(source.group) === source) groups.delete(source.group);
  } else if (source.value === undefined && source.fields === undefined) {
    const { records } = inputs.kind(source.kind);
    if (records.get(source.id) === source) records.delete(source.id);
  }
}
