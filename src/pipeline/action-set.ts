import type { Action } from '../openflow/flow.ts';

/** The order in which an action set is executed (OpenFlow 1.3.5 §5.10; `ofpacts_execute_action_set` of Open vSwitch). */
const SLOTS: readonly Action['kind'][] = [
  'popVlan',
  'popMpls',
  'decap',
  'encap',
  'pushMpls',
  'pushVlan',
  'decTtl',
  'decMplsTtl',
];
const FINAL: readonly Action['kind'][] = ['ct', 'ctClear', 'resubmit', 'output', 'group'];
const SETTERS: ReadonlySet<Action['kind']> = new Set<Action['kind']>([
  'setField',
  'load',
  'move',
  'setVlanVid',
  'setVlanPcp',
  'setNwTtl',
  'setMplsTtl',
  'setTunnel',
  'setQueue',
]);

/**
 * The list that a set of actions stands for: the last of each kind in the set order, then everything that sets fields
 * as written, then the one final action of highest rank. Without a final action nothing is done.
 */
export function actionSetList(set: readonly Action[]): Action[] {
  const slots: (Action | undefined)[] = [];
  const setters: Action[] = [];
  let final: Action | undefined;
  for (const action of set) {
    const kind = action.kind === 'stripVlan' ? 'popVlan' : action.kind;
    const slot = SLOTS.indexOf(kind);
    if (slot >= 0) slots[slot] = action;
    else if (SETTERS.has(kind)) setters.push(action);
    else if (FINAL.includes(kind) && (!final || FINAL.indexOf(kind) >= FINAL.indexOf(final.kind))) final = action;
  }
  if (!final) return [];
  return [...slots.filter((action) => action !== undefined), ...setters, final];
}
