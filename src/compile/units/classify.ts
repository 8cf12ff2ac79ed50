import type { Contribution } from '../../incremental/definitions.ts';
import type { LogicalPort } from '../../model/objects.ts';
import type { Match } from '../../openflow/flow.ts';
import { type SwitchFacts, switchFacts, toAgent } from '../facts.ts';
import { ARP_REPLY, ARP_REQUEST, ETH, load, match, ND, neighbor, type Registers } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, macsOf, outsideOfPortIndex, type Reader } from '../inputs.ts';
import { macOf, type Owned, ownedBy } from '../owned.ts';
import { sendsHere } from '../placement.ts';
import { bringsLarger } from '../sizes.ts';
import type { Reason, TableName } from '../tables.ts';
import { senderRegisters } from '../tracking.ts';
import { markOf } from './entry.ts';
import { heldBack } from './held-back.ts';

/**
 * A local port's way into the pipeline: tables `classify`, `vlan` (units/vlan.ts) and `source`. The usual port (its switch not
 * VLAN-aware, active here) is known by its interface and MAC in one flow; any other goes through `vlan` and `source`.
 */
export const CLASSIFY = {
  hello: 1020,
  attachment: 1010,
  shut: 1000,
  down: 990,
  /** What the BGP daemon that shares a router port's address gets (speaker.ts). */
  speaker: 900,
  announcement: 800,
  inactive: 790,
  special: 700,
  tagged: 600,
  unsecured: 580,
  /** Plus the bit's place: 0 to 47. Of all ports here (wide.ts). */
  wide: 500,
  mac: 400,
  spoofed: 100,
} as const;

/** In `source`, as in `classify`. */
export const SOURCE = { wide: 500, mac: 400, spoofed: 100 } as const;

export const classifyUnit = define.unit({
  name: 'classify',
  over: 'interface',
  run(reader, id) {
    const port = reader.get('port', id);
    const ofport = reader.pick('interface', id, 'ofport');
    const onSwitch = port && reader.derive(switchFacts, port.switch);
    if (port === undefined || ofport === undefined || onSwitch === undefined) return [];
    const from: Match = { in_port: ofport };
    const down = downReason(reader, port, onSwitch);
    if (down !== undefined)
      return [
        flow('classify', down === 'shut-off' || down === 'loop' ? CLASSIFY.shut : CLASSIFY.down, from, { drop: down }),
      ];
    const keys = senderKeys(reader, port, onSwitch);
    const sends = sendsHere(reader, id);
    if (!onSwitch.vlanAware && sends === 'active') return plain(port, from, keys);
    return [
      ...(sends === 'active' ? [] : announcements(reader, port, ownedBy(port, onSwitch), from, keys)),
      sends === 'announce'
        ? flow('classify', CLASSIFY.inactive, from, { drop: 'not-active' })
        : flow('classify', CLASSIFY.special, from, { do: load(keys), goto: 'vlan' }),
      ...sources(port),
    ];
  },
});

/** What the pipeline knows of a frame from a local port. */
export function senderKeys(reader: Reader, port: LogicalPort, onSwitch: SwitchFacts): Registers {
  return {
    inPort: port.key,
    switch: onSwitch.key,
    ...senderRegisters(reader, port.id),
    ...markOf(reader, port.id),
    ...heldBack(reader, port.id),
    ...(bringsLarger(reader, port) ? { fromLarger: 1 } : {}),
  };
}

/** Where frames go whose sender is known: to the guard, or where addresses are learned. */
export function afterSource(port: LogicalPort): TableName {
  return port.portSecurity ? 'guard' : 'learn';
}

export function downReason(reader: Reader, port: LogicalPort, onSwitch: SwitchFacts): Reason | undefined {
  if (reader.get('shutOff', port.id) !== undefined) return 'shut-off';
  if (reader.get('cut', port.id) !== undefined) return 'loop';
  if (!port.adminUp) return 'port-down';
  return onSwitch.adminUp ? undefined : 'switch-down';
}

function plain(port: LogicalPort, from: Match, keys: Registers): readonly Contribution[] {
  if (!port.portSecurity) return [flow('classify', CLASSIFY.unsecured, from, { do: load(keys), goto: 'learn' })];
  return macChecks('classify', CLASSIFY.mac, from, port, keys);
}

/** The `source` table asks what `classify` could not: it knows the port, not yet the MAC. */
function sources(port: LogicalPort): Contribution[] {
  if (!port.portSecurity) return [];
  return macChecks('source', SOURCE.mac, match({ inPort: port.key }), port, {});
}

function macChecks(
  table: 'classify' | 'source',
  priority: number,
  from: Match,
  port: LogicalPort,
  keys: Registers,
): Contribution[] {
  return macsOf(port).map((mac) =>
    flow(table, priority, { ...from, eth_src: macOf(mac) }, { do: load(keys), goto: 'guard' }),
  );
}

/** Frames by which a workload says that it is here now (step 1): they tell the agent and go on like others. */
function announcements(reader: Reader, port: LogicalPort, owned: Owned, from: Match, keys: Registers): Contribution[] {
  // What moves outside is not for it to say.
  if (reader.members(outsideOfPortIndex, port.id).length > 0) return [];
  const says: Match[] = [{ eth_type: ETH.rarp }];
  for (const { cidr } of owned.pairs) {
    const { ip, prefix } = cidr;
    if (ip.version === 4 && prefix === 32)
      says.push(
        { ...ARP_REQUEST, arp_spa: ip.value, arp_tpa: ip.value },
        { ...ARP_REPLY, arp_spa: ip.value, arp_tpa: ip.value },
      );
    if (ip.version === 6 && prefix === 128)
      says.push({ ...neighbor(ND.advert), ipv6_dst: ALL_NODES, nd_target: ip.value });
  }
  const target = { do: [...load(keys), toAgent(reader, 'announce')], goto: 'vlan' } as const;
  const sources: Match[] = port.portSecurity ? owned.macs.map((mac) => ({ eth_src: mac })) : [{}];
  return sources.flatMap((source) =>
    says.map((said) => flow('classify', CLASSIFY.announcement, { ...from, ...source, ...said }, target)),
  );
}

/** Advertisements that nobody asked for go to all nodes (RFC 4861 §7.2.6). */
const ALL_NODES = 0xff02_0000_0000_0000_0000_0000_0000_0001n;
