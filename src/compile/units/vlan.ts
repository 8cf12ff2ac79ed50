import type { Contribution } from '../../incremental/definitions.ts';
import type { LogicalPort } from '../../model/objects.ts';
import type { Masked, Match } from '../../openflow/flow.ts';
import { setCover } from '../bits.ts';
import { switchFacts } from '../facts.ts';
import { load, match, move, REGISTERS, TAGGED, tagged, UNTAGGED } from '../fields.ts';
import { type FlowTarget, flow } from '../flow-sink.ts';
import { define } from '../inputs.ts';
import { sendsHere } from '../placement.ts';
import type { TableName } from '../tables.ts';
import { afterSource } from './classify.ts';

/** Which VLAN a frame is in (step 2), for ports that come through `vlan`. */
export const VLAN = { access: 400, noSuchId: 300, carried: 200, rest: 100 } as const;

export const vlanUnit = define.unit({
  name: 'vlan',
  over: 'interface',
  run(reader, id) {
    const port = reader.get('port', id);
    const onSwitch = port && reader.derive(switchFacts, port.switch);
    if (port === undefined || onSwitch === undefined) return [];
    const next: TableName = port.portSecurity ? 'source' : afterSource(port);
    const from = match({ inPort: port.key });
    if (onSwitch.vlanAware) return awareFlows(port, from, next);
    if (sendsHere(reader, id) === 'active') return [];
    return [
      flow('vlan', VLAN.carried, { ...from, vlan_vid: UNTAGGED }, { goto: next }),
      flow('vlan', VLAN.access, { ...from, vlan_vid: TAGGED }, { drop: 'tagged' }),
    ];
  },
});

function awareFlows(port: LogicalPort, from: Match, next: TableName): Contribution[] {
  const untaggedIn = (vlan: number): Contribution =>
    flow('vlan', VLAN.carried, { ...from, vlan_vid: UNTAGGED }, { do: load({ vlan, addTag: 1 }), goto: next });
  const config = port.vlan;
  if (config !== undefined && 'access' in config)
    return [untaggedIn(config.access), flow('vlan', VLAN.access, { ...from, vlan_vid: TAGGED }, { drop: 'tagged' })];
  const takeId: FlowTarget = {
    do: [move({ field: 'vlan_vid', from: 0, bits: 12 }, REGISTERS.vlan)],
    goto: next,
  };
  if (config === undefined || config.trunk === 'all')
    return [
      flow('vlan', VLAN.carried, { ...from, vlan_vid: TAGGED }, takeId),
      config?.native === undefined
        ? flow('vlan', VLAN.carried, { ...from, vlan_vid: UNTAGGED }, { goto: next })
        : untaggedIn(config.native),
    ];
  return [
    ...setCover(config.trunk, 12).map((ids) =>
      flow('vlan', VLAN.carried, { ...from, vlan_vid: taggedIds(ids) }, takeId),
    ),
    ...(config.native === undefined ? [] : [untaggedIn(config.native)]),
    flow('vlan', VLAN.rest, from, { drop: 'vlan' }),
  ];
}

/** A block of VLAN ids, as a tag. */
export function taggedIds(ids: Masked): Masked | number {
  const value = tagged(Number(ids.value));
  return ids.mask === 0xfff ? value : { value, mask: 0x1000 | Number(ids.mask) };
}
