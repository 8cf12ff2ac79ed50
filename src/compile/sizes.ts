import { isWire, mtuOfSwitch, tunnelMtu } from '../model/mtu.ts';
import type { LogicalPort } from '../model/objects.ts';
import type { Action } from '../openflow/flow.ts';
import { selfHost } from './facts.ts';
import { REGISTERS } from './fields.ts';
import { define, openPortsIndex, outsideOfPortIndex, type Reader, unsecuredIndex } from './inputs.ts';

/**
 * How large packets may be (docs/design/layer3.md, §6a). What workloads send is as large as they were told, so nothing asks its size but for
 * switches with an `mtu` of their own. What comes in where packets may be larger has `fromLarger` in its registers.
 */

/** The destination and source MAC and the Ethernet type, which an MTU does not count. */
const ETHERNET_BYTES = 14;

/** The largest IP packet, its frame without a tag, that this host's tunnels take; undefined while its zone is not known. */
export const tunnelMtuHere = define.cell<number | undefined>({
  name: 'tunnelMtuHere',
  run: (reader) => {
    const host = selfHost(reader);
    const zone = host === undefined ? undefined : reader.pick('host', host, 'zone');
    const encap = zone === undefined ? undefined : reader.pick('tunnelZone', zone, 'encap');
    if (encap === undefined) return undefined;
    const underlayMtu = reader.pick('host', host!, 'underlayMtu')!;
    return tunnelMtu({ underlayMtu, tunnelAddress: reader.pick('host', host!, 'tunnelAddress')! }, encap);
  },
});

/** Has the switch an `mtu` that tunnels of this host do not take? */
const outgrowsTunnels = define.cell<boolean>({
  name: 'outgrowsTunnels',
  run: (reader, id) => {
    const mtu = reader.pick('switch', id, 'mtu');
    const tunnels = mtu === undefined ? undefined : reader.derive(tunnelMtuHere, '');
    return tunnels !== undefined && mtu! > tunnels;
  },
});

/** May what comes in by the port be larger than tunnels take? */
export function bringsLarger(reader: Reader, port: LogicalPort): boolean {
  if (isWire(port) || (!port.portSecurity && reader.members(outsideOfPortIndex, port.id).length > 0))
    return reader.derive(tunnelMtuHere, '') !== undefined;
  return reader.derive(outgrowsTunnels, port.switch);
}

/** The `tunnelMtuHere` of hosts where something may be larger. */
export const askedOfLarger = define.cell<number | undefined>({
  name: 'askedOfLarger',
  run: (reader) => (reader.ids(openPortsIndex, '').length === 0 ? undefined : reader.derive(tunnelMtuHere, '')),
});

/** What a router asks of packets for a switch: all of them, or those with `fromLarger`. */
export const sizeInto = define.cell<{ readonly mtu: number; readonly of: 'all' | 'fromLarger' } | undefined>({
  name: 'sizeInto',
  run: (reader, id) => {
    const mtu = reader.pick('switch', id, 'mtu');
    if (mtu !== undefined) return { mtu, of: 'all' };
    const tunnels = reader.derive(askedOfLarger, '');
    if (tunnels === undefined || hasWireHere(reader, id)) return undefined;
    const vlanAware = reader.pick('switch', id, 'vlanAware');
    return vlanAware === undefined ? undefined : { mtu: mtuOfSwitch({ vlanAware }, tunnels), of: 'fromLarger' };
  },
});

/** Does the switch, on which nobody is told an address, lead out by a wire of this host? */
function hasWireHere(reader: Reader, id: string): boolean {
  if (reader.pick('switch', id, 'subnets')?.length !== 0) return false;
  const self = selfHost(reader);
  return reader.ids(unsecuredIndex, id).some((port) => {
    if (reader.pick('binding', port, 'active') !== self) return false;
    return (
      reader.pick('port', port, 'addresses')?.length === 0 && reader.members(outsideOfPortIndex, port).length === 0
    );
  });
}

/** Larger than an IP packet of so many bytes? `tooBig` says so afterwards. The frame has no tag. */
export function measure(mtu: number): Action {
  return { kind: 'checkPktLarger', length: mtu + ETHERNET_BYTES, dst: REGISTERS.tooBig };
}
