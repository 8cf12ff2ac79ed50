import type { Action, Flow, Instructions } from '../flow.ts';
import { formatActions } from './action-format.ts';
import { DEFAULT_PRIORITY } from './action-names.ts';
import { actionsOf, parseActions } from './action-parse.ts';
import { badText, hex, hex0, type Item, parseInteger, parseNumber, splitItems } from './items.ts';
import { formatMatch, MatchBuilder } from './match.ts';
import { parseTable } from './ports.ts';

/*
 * src/openflow/text: flows, matches and actions to and from `ovs-ofctl` syntax. One grammar for all (`items.ts`): a list
 * of `key`, `key=value`, `key:value` and `key(…)`. Errors are `DecodeError('bad-text')` with the place and the remedy.
 */

/**
 * Whole flows in `ovs-ofctl` syntax. The canonical text is what `ovs-ofctl --no-stats dump-flows` prints, with the
 * cookie and table always given:
 *
 *     cookie=0x5, table=3, idle_timeout=10, priority=100,tcp,tp_dst=80 actions=load:0x1->NXM_NX_REG0[],resubmit(,10)
 *
 * `parseFlow` takes what `dump-flows` prints and what `add-flow` takes, statistics passed over.
 */

/** `OFPFF_*` by name, in the order of printing. */
const FLAGS: readonly (readonly [name: string, bit: number])[] = [
  ['send_flow_rem', 1],
  ['check_overlap', 2],
  ['reset_counts', 4],
  ['no_packet_counts', 8],
  ['no_byte_counts', 16],
];

/** Printed by `dump-flows`, not part of a flow. */
const STATISTICS = /^(duration|n_packets|n_bytes|idle_age|hard_age)$/;
const IGNORED = /^(no_readonly_table|allow_hidden_fields|add)$/;

export function formatFlow(flow: Flow): string {
  let head = `cookie=${hex0(flow.cookie)}, table=${flow.table}, `;
  if (flow.idleTimeout) head += `idle_timeout=${flow.idleTimeout}, `;
  if (flow.hardTimeout) head += `hard_timeout=${flow.hardTimeout}, `;
  for (const [name, bit] of FLAGS) if ((flow.flags ?? 0) & bit) head += `${name} `;
  if (flow.importance) head += `importance=${flow.importance}, `;
  const match = formatMatch(flow.match);
  const priority = flow.priority === DEFAULT_PRIORITY ? '' : `priority=${flow.priority}`;
  const entry = priority && match ? `${priority},${match}` : priority || match;
  return `${head}${entry}${entry ? ' ' : ''}actions=${formatInstructions(flow)}`;
}

/** `drop` when there is nothing to do. */
export function formatInstructions(flow: Instructions): string {
  const out: string[] = [];
  if (flow.meter !== undefined) out.push(`meter:${flow.meter}`);
  if (flow.actions.length > 0) out.push(formatActions(flow.actions));
  if (flow.clearActions) out.push('clear_actions');
  if (flow.writeActions) out.push(`write_actions(${formatActions(flow.writeActions)})`);
  if (flow.writeMetadata) {
    const { value, mask } = flow.writeMetadata;
    out.push(`write_metadata:${hex(value)}${mask === 0xffff_ffff_ffff_ffffn ? '' : `/${hex(mask)}`}`);
  }
  if (flow.gotoTable !== undefined) out.push(`goto_table:${flow.gotoTable}`);
  return out.join(',') || 'drop';
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Throws `DecodeError('bad-text')` with the offset and how to mend it. */
export function parseFlow(text: string): Flow {
  const split = /(^|[\s,])actions?=/.exec(text);
  if (!split) badText(text.length, 'actions', 'end the flow with actions=…, or actions=drop');
  const end = split.index + split[0].length;
  const flow: Mutable<Flow> = { table: 0, priority: DEFAULT_PRIORITY, cookie: 0n, match: {}, actions: [] };
  const match = new MatchBuilder();
  for (const item of splitItems(text.slice(0, split.index))) {
    if (!flowItem(flow, item) && !match.take(item)) badText(item.at, item.key.slice(0, 40), 'no such field or setting');
  }
  flow.match = match.finish();
  return Object.assign(flow, parseInstructions(text.slice(end), end));
}

function flowItem(flow: Mutable<Flow>, item: Item): boolean {
  const number = (bits: number): number => parseNumber(item.value, bits, item.valueAt, item.key);
  const flag = FLAGS.find(([name]) => name === item.key);
  if (flag) flow.flags = (flow.flags ?? 0) | flag[1];
  else if (item.key === 'table') flow.table = parseTable(item.value, item.valueAt);
  else if (item.key === 'priority') flow.priority = number(16);
  else if (item.key === 'cookie') flow.cookie = parseInteger(item.value, 64, item.valueAt, 'cookie');
  else if (item.key === 'idle_timeout') flow.idleTimeout = number(16);
  else if (item.key === 'hard_timeout') flow.hardTimeout = number(16);
  else if (item.key === 'importance') flow.importance = number(16);
  else return STATISTICS.test(item.key) || IGNORED.test(item.key);
  return true;
}

/** What stands after `actions=`. Instructions may come in any order but after the applied actions. */
export function parseInstructions(text: string, base = 0): Instructions {
  const out: Mutable<Instructions> = { actions: [] };
  const applied: Item[] = [];
  for (const item of splitItems(text, base)) {
    const once = (seen: boolean): void => {
      if (seen) badText(item.at, item.key, 'only one of it per flow');
    };
    switch (item.key) {
      case 'meter':
        if (applied.length > 0 || out.meter !== undefined) applied.push(item);
        else out.meter = parseNumber(item.value, 32, item.valueAt, 'meter');
        break;
      case 'clear_actions':
        once(out.clearActions === true);
        out.clearActions = true;
        break;
      case 'write_actions':
        once(out.writeActions !== undefined);
        out.writeActions = parseActions(item.value, item.valueAt);
        break;
      case 'write_metadata':
        once(out.writeMetadata !== undefined);
        out.writeMetadata = parseMetadata(item);
        break;
      case 'goto_table':
        once(out.gotoTable !== undefined);
        out.gotoTable = parseTable(item.value, item.valueAt);
        break;
      default:
        applied.push(item);
    }
  }
  out.actions = actionsOf(applied) as readonly Action[];
  return out;
}

function parseMetadata(item: Item): { value: bigint; mask: bigint } {
  const [value = '', mask] = item.value.split('/');
  return {
    value: parseInteger(value, 64, item.valueAt, 'write_metadata'),
    mask: mask === undefined ? 0xffff_ffff_ffff_ffffn : parseInteger(mask, 64, item.valueAt, 'write_metadata'),
  };
}
