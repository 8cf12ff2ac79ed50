import { type Contribution, contribute, defineSink } from '../incremental/definitions.ts';
import { equalValues } from '../incremental/values.ts';
import type { FieldName } from '../openflow/fields.ts';
import type { Action, Flow, Match } from '../openflow/flow.ts';
import { cookieOf } from './cookie.ts';
import { type Reason, TABLES, type TableName } from './tables.ts';

/** What a unit says of one flow: all but the cookie, which follows from who says it. */
export interface FlowDraft {
  readonly table: number;
  readonly priority: number;
  readonly match: Match;
  readonly actions: readonly Action[];
  readonly gotoTable: number | undefined;
  /** Why frames end here, where they do. */
  readonly reason: Reason | undefined;
}

/** A flow with its origin: one object, as there are many. */
export interface CompiledFlow extends Flow {
  /** Units (`family/key`) that want it. */
  readonly units: readonly string[];
  readonly reason: Reason | undefined;
}

export interface FlowTarget {
  readonly do?: readonly Action[];
  readonly goto?: TableName;
  readonly drop?: Reason;
}

const NO_ACTIONS: readonly Action[] = [];

/** One flow of one unit. The slot is its identity in the switch: table, priority, match. */
export function flow(table: TableName, priority: number, match: Match, target: FlowTarget): Contribution {
  const number = TABLES[table].number;
  const next = target.goto === undefined ? undefined : TABLES[target.goto].number;
  // OpenFlow's instruction leads to later tables only (1.5.1 §5.5); back goes a resubmit, which keeps all registers.
  const isBack = next !== undefined && next <= number;
  // A copy is as long as it has to be; what was pushed or spread together has room for 17 more.
  const actions = target.do === undefined ? NO_ACTIONS : target.do.slice();
  const draft: FlowDraft = {
    table: number,
    priority,
    match,
    actions: isBack ? [...actions, { kind: 'resubmit', table: next }] : actions,
    gotoTable: isBack ? undefined : next,
    reason: target.drop,
  };
  return contribute(flowSink, nameOf(draft), draft);
}

/**
 * The name of a compiled flow, and of its slot. Fields stand in the order in which the match was built; the same match is always built by the same
 * code. What a switch gives back has another form (agent/flow-key.ts).
 */
export function nameOf({ table, priority, match }: Pick<Flow, 'table' | 'priority' | 'match'>): string {
  let name = `${table},${priority}`;
  for (const field in match) {
    const value = match[field as FieldName]!;
    name += typeof value === 'object' ? `,${field}=${value.value}/${value.mask}` : `,${field}=${value}`;
  }
  return name;
}

/**
 * Flows of a switch. Units that contribute the same flow share it; where they disagree the first (by name) holds and the
 * others are named as a problem.
 */
export const flowSink = defineSink<FlowDraft, CompiledFlow>({
  name: 'flow',
  merge(contributions, report) {
    const { value: draft, unit } = contributions[0]!;
    if (contributions.length > 1 && CONJUNCTIVE.has(draft.table) && contributions.every(isConjunctive))
      return conjunctive(contributions);
    const units = [unit];
    for (let i = 1; i < contributions.length; i++) {
      const other = contributions[i]!;
      if (!equalValues(draft, other.value)) {
        report('different flows for the same match', [unit, other.unit]);
      } else if (units.at(-1) !== other.unit) units.push(other.unit);
    }
    // Written out: there are many, and all have one shape.
    const { table, priority, match, actions, gotoTable, reason } = draft;
    return { table, priority, match, actions, gotoTable, reason, cookie: cookieOf(units, reason), units };
  },
});

const CONJUNCTIVE: ReadonlySet<number> = new Set(
  Object.values(TABLES).flatMap(({ number, merge }) => (merge === 'conjunction' ? [number] : [])),
);

interface Contributed {
  readonly value: FlowDraft;
  readonly unit: string;
}

function isConjunctive({ value }: Contributed): boolean {
  return value.actions.length > 0 && value.actions.every(({ kind }) => kind === 'conjunction');
}

type Conjunction = Extract<Action, { kind: 'conjunction' }>;

/** One address in ten sets is one flow from ten units: each clause of each conjunction once, in order. */
function conjunctive(contributions: readonly Contributed[]): CompiledFlow {
  const clauses = new Map<string, Conjunction>();
  const units: string[] = [];
  for (const { value, unit } of contributions) {
    if (units.at(-1) !== unit) units.push(unit);
    for (const action of value.actions as readonly Conjunction[])
      clauses.set(`${action.id}/${action.clause}/${action.of}`, action);
  }
  const actions = [...clauses.values()].sort((a, b) => a.id - b.id || a.clause - b.clause);
  const { table, priority, match, gotoTable, reason } = contributions[0]!.value;
  return { table, priority, match, actions, gotoTable, reason, cookie: cookieOf(units, reason), units };
}
