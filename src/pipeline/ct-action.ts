import type { Action, FieldValue } from '../openflow/flow.ts';
import { CT_STATE, type Tracked } from './conntrack.ts';
import { clearTracking } from './ct-fields.ts';
import type { Execution } from './execution.ts';
import { placeOf, readBits, readField, writeField } from './layout.ts';
import type { PacketState } from './packet-state.ts';

type Ct = Extract<Action, { kind: 'ct' }>;

const CT_MARK = placeOf('ct_mark');
const CT_LABEL = placeOf('ct_label');
const ETH_TYPE = placeOf('eth_type').word;

/**
 * The `ct` action: the packet goes through the tracker (or gets the next given state); with a table, a copy goes on
 * there with the connection's fields. The packet itself is untracked afterwards.
 */
export function trackPacket(execution: Execution, action: Ct): void {
  const { packet, env } = execution;
  const { key } = packet;
  const zone = zoneOf(action, key);
  const type = key[ETH_TYPE];
  if (type === 0x0800 || type === 0x86dd) {
    execution.perform(action.exec ?? []);
    const [mark, markMask] = [key[CT_MARK.word]!, Number(execMask(action, 'ct_mark'))];
    const [label, labelMask] = [readField(key, CT_LABEL) as bigint, execMask(action, 'ct_label')];
    const given = action.table === undefined ? undefined : env.ctStates?.shift();
    const tracked =
      given === undefined
        ? env.conntrack.track(packet, {
            zone,
            commit: action.commit === true,
            force: action.force === true,
            nat: action.nat,
            alg: action.alg,
            mark: { value: mark, mask: markMask },
            label: { value: label, mask: labelMask },
          })
        : { state: given | CT_STATE.tracked, zone, mark, label };
    packet.tracked = tracked;
    if (action.table !== undefined) execution.recirculate(trackedCopy(packet, zone, tracked), action.table);
  } else if (action.table !== undefined) execution.recirculate(trackedCopy(packet, zone, undefined), action.table);
  clearTracking(key);
}

function zoneOf(action: Ct, key: Uint32Array): number {
  const { zone } = action;
  if (zone === undefined || typeof zone === 'number') return zone ?? 0;
  return readBits(key, placeOf(zone.field), zone.from, Math.min(16, zone.bits));
}

/** Which bits the actions in `exec(…)` set. */
function execMask(action: Ct, field: 'ct_mark' | 'ct_label'): bigint {
  const all = (1n << BigInt(placeOf(field).bits)) - 1n;
  let mask = 0n;
  for (const inner of action.exec ?? []) {
    if (inner.kind === 'setField' && inner.field === field) mask |= inner.mask === undefined ? all : BigInt(inner.mask);
    else if ((inner.kind === 'load' || inner.kind === 'move') && inner.dst.field === field)
      mask |= ((1n << BigInt(inner.dst.bits)) - 1n) << BigInt(inner.dst.from);
  }
  return mask;
}

function trackedCopy(packet: PacketState, zone: number, tracked: Tracked | undefined): PacketState {
  const copy = packet.clone();
  copy.parse();
  clearTracking(copy.key);
  if (!tracked) return copy;
  const set = (name: Parameters<typeof placeOf>[0], value: FieldValue): void =>
    writeField(copy.key, placeOf(name), value);
  set('ct_state', tracked.state);
  set('ct_zone', zone);
  set('ct_mark', tracked.mark);
  set('ct_label', tracked.label);
  const original = tracked.original;
  if (!original) return copy;
  set('ct_nw_proto', original.proto);
  set(original.v6 ? 'ct_ipv6_src' : 'ct_nw_src', original.src);
  set(original.v6 ? 'ct_ipv6_dst' : 'ct_nw_dst', original.dst);
  set('ct_tp_src', original.srcPort);
  set('ct_tp_dst', original.dstPort);
  return copy;
}
