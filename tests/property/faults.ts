import { type Reason, TABLES, type TableName } from '../../src/compile/tables.ts';
import type { Action, Flow, Match } from '../../src/openflow/flow.ts';
import type { Outcome } from '../../src/simulate/outcome.ts';
import type { ScenarioHost } from './scenario.ts';

/** Deliberate faults, of which a comparison has to notice each: in the flows of a host, or in what `simulate` says. */
export type FlowFault = (flows: readonly Flow[], host: ScenarioHost) => readonly Flow[];
export type OutcomeFault = (outcome: Outcome) => Outcome;

export const inTable = (flow: Flow, ...tables: readonly TableName[]): boolean =>
  tables.some((table) => flow.table === TABLES[table].number);
export const asks = (flow: Flow, ...fields: string[]): boolean => fields.every((field) => field in flow.match);

/** Takes flows away. */
export function without(fits: (flow: Flow, reason: Reason | undefined) => boolean): FlowFault {
  return (flows, { compiler }) => flows.filter((flow) => !fits(flow, compiler.explain(flow.cookie).reason));
}

export function changed(fits: (flow: Flow) => boolean, change: (flow: Flow) => Flow): FlowFault {
  return (flows) => flows.map((flow) => (fits(flow) ? change(flow) : flow));
}

export function forget(field: keyof Match): (flow: Flow) => Flow {
  return (flow) => {
    const { [field]: _, ...match } = flow.match;
    return { ...flow, match };
  };
}

/** The actions of a flow, those within clones too. */
export function mapActions(actions: readonly Action[], map: (action: Action) => readonly Action[]): Action[] {
  return actions.flatMap((action) =>
    action.kind === 'clone' ? [{ ...action, actions: mapActions(action.actions, map) }] : map(action),
  );
}

export const withoutAction = (fits: (action: Action) => boolean) => (flow: Flow) => ({
  ...flow,
  actions: mapActions(flow.actions, (action) => (fits(action) ? [] : [action])),
});

export const hasAction = (flow: Flow, fits: (action: Action) => boolean): boolean => flow.actions.some(fits);
