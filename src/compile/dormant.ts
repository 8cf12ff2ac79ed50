import type { FieldName } from '../openflow/fields.ts';
import type { Action, FieldRange, FieldValue, Flow } from '../openflow/flow.ts';
import { REGISTERS } from './fields.ts';
import { TABLES } from './tables.ts';

/**
 * Flows that no packet meets while only certain others are there. A packet begins with empty registers, and what they hold afterwards some flow has
 * loaded: a flow for a switch, router or port whose key none of those others loads is dormant beside them, alone or with any more
 * dormant ones. So it may come before the flow that leads to it, and go behind it, without any packet noticing.
 */

/** Registers that hold the key of a switch, router or port and nothing else. */
const KEYED = [REGISTERS.inPort.field, REGISTERS.switch.field, REGISTERS.outPort.field] as const satisfies FieldName[];
/** Keys have 24 bits: what is written above them (as the bits above a profile's number are) makes no key of what is none. */
const KEY_BITS = 24;
const KEY_MASK = 2 ** KEY_BITS - 1;

interface Held {
  /** What it is loaded with, its lowest 24 bits. */
  readonly values: Set<number>;
  /** Registers that it is copied from, whole. */
  readonly from: Set<FieldName>;
  /** Something writes it whose value is not known from the flow. */
  isOpen: boolean;
}

/** What a number of flows may leave in the registers. */
export class Loads {
  readonly #held = new Map<FieldName, Held>();
  /** An action may write any register. */
  #allOpen = false;

  /** Of these flows. */
  constructor(...flows: readonly Iterable<Flow>[]) {
    for (const some of flows) for (const { actions } of some) this.#take(actions);
  }

  /** No packet that these flows alone have handled meets it. */
  areStrangeTo({ match }: Flow): boolean {
    if (this.#allOpen) return false;
    return KEYED.some((field) => {
      const wanted = match[field];
      if (wanted === undefined || typeof wanted === 'object') return false;
      return Number(wanted) !== 0 && !this.#mayHold(field, lowest(wanted), new Set());
    });
  }

  #mayHold(field: FieldName, key: number, asked: Set<FieldName>): boolean {
    const held = this.#held.get(field);
    if (held === undefined || asked.has(field)) return false;
    if (held.isOpen || held.values.has(key)) return true;
    asked.add(field);
    for (const source of held.from) if (this.#mayHold(source, key, asked)) return true;
    return false;
  }

  #take(actions: readonly Action[]): void {
    for (const action of actions) this.#takeOne(action);
  }

  #takeOne(action: Action): void {
    switch (action.kind) {
      case 'setField':
        return this.#written(action.field, action.value, action.mask);
      case 'load': {
        const { field, from, bits } = action.dst;
        if (from === 0 && bits === 32) return this.#written(field, action.value, undefined);
        return this.#part(action.dst);
      }
      case 'move': {
        const { src, dst } = action;
        if (!isWhole(src) || !isWhole(dst)) return this.#part(dst);
        this.#of(dst.field)?.from.add(src.field);
        return;
      }
      case 'ct':
        return this.#take(action.exec ?? []);
      case 'clone':
        return this.#take(action.actions);
      case 'checkPktLarger':
      case 'multipath':
        return this.#part(action.dst);
      case 'bundle':
        return action.dst && this.#part(action.dst);
      case 'pop':
        return this.#part(action.range);
      case 'learn':
      case 'group':
      case 'unknown':
        // What other flows or buckets do is not in this one.
        this.#allOpen = true;
    }
  }

  #written(field: FieldName, value: FieldValue, mask: FieldValue | undefined): void {
    const held = this.#of(field);
    if (held === undefined) return;
    const ones = mask === undefined ? KEY_MASK : lowest(mask);
    if (ones === KEY_MASK) held.values.add(lowest(value));
    else if (ones !== 0) held.isOpen = true;
  }

  /** Some bits of a register are written with something. */
  #part({ field, from }: FieldRange): void {
    const held = this.#of(field);
    if (held && from < KEY_BITS) held.isOpen = true;
  }

  /** Of a register of 32 bits; wider ones open those that they are made of. */
  #of(field: FieldName): Held | undefined {
    const [, wide, index] = WIDE.exec(field) ?? [];
    if (wide !== undefined) {
      const count = wide.length * 2;
      for (let i = 0; i < count; i++) this.#of(`reg${Number(index) * count + i}` as FieldName)!.isOpen = true;
      return undefined;
    }
    if (!field.startsWith('reg')) return undefined;
    let held = this.#held.get(field);
    if (held === undefined) {
      held = { values: new Set(), from: new Set(), isOpen: false };
      this.#held.set(field, held);
    }
    return held;
  }
}

/**
 * Ways in from outside: ports of the switch and tunnel keys. Flows of these tables that ask for none let nothing in. So where all that it leads to is
 * there, one that has a single flow may be opened (closed) by itself: a packet meets either state of it.
 */
export class WaysIn {
  readonly #counts = new Map<string, number>();

  /** Of these flows, among which none is twice. */
  constructor(...flows: readonly Iterable<Flow>[]) {
    for (const some of flows)
      for (const flow of some) {
        const way = wayIn(flow);
        if (way !== undefined) this.#counts.set(way, (this.#counts.get(way) ?? 0) + 1);
      }
  }

  /** It is one of these flows, and the only one by its way in. */
  isAlone(flow: Flow): boolean {
    const way = wayIn(flow);
    return way !== undefined && this.#counts.get(way) === 1;
  }
}

/** Where a flow is one of a way in: that way, as a word of its own. */
export function wayIn({ table, match }: Flow): string | undefined {
  const field = WAY_IN.get(table);
  const value = field && match[field];
  return value === undefined || typeof value === 'object' ? undefined : `${table} ${value}`;
}

const WAY_IN = new Map<number, FieldName>([
  [TABLES.classify.number, 'in_port'],
  [TABLES.tunnel.number, 'tun_id'],
]);

/** The bits of a value that a key has. */
function lowest(value: FieldValue): number {
  return Number(BigInt(value) & BigInt(KEY_MASK));
}

/** xreg0 is reg0 and reg1; xxreg0 is reg0 to reg3. */
const WIDE = /^(x+)reg(\d+)$/;

function isWhole({ field, from, bits }: FieldRange): boolean {
  return field.startsWith('reg') && from === 0 && bits === 32;
}
