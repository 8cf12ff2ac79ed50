import { type Ip, parseIp } from '../../base/addresses.ts';
import type { Contribution } from '../../incremental/definitions.ts';
import { isInVlan } from '../../model/subnets.ts';
import { reachedSwitch } from '../facts.ts';
import { load, match, type Registers, scratchMac } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, type Reader } from '../inputs.ts';
import { macOf } from '../owned.ts';
import { isLinkLocal, ownAddresses, vlanOf, vlansOfRouterPort } from '../routers.ts';

/**
 * Which MAC has an address of a switch: asked by routed packets for their next hop, and by ARP and neighbour solicitations of workloads
 * for their target (units/answer.ts). One flow per address serves both.
 */
export const RESOLVE = { owned: 300, heard: 100 } as const;

/**
 * One flow of `resolve`; none for a switch that nothing from here can be in. On a VLAN-aware switch in the VLAN of the address's subnet,
 * unless `vlans` names others; where `isIn` says no, none.
 */
export function resolves(
  reader: Reader,
  switchId: string,
  ip: Ip,
  mac: number,
  priority: number,
  options: {
    readonly registers?: Registers;
    readonly vlans?: readonly number[];
    readonly isIn?: (vlan: number) => boolean;
  } = {},
): Contribution[] {
  const onSwitch = reader.derive(reachedSwitch, switchId);
  if (onSwitch === undefined) return [];
  const where = { switch: onSwitch.key, ...options.registers };
  const found = (registers: Registers): Contribution =>
    flow('resolve', priority, match(registers, { xxreg2: BigInt(ip.value) }), { do: load(scratchMac(mac)) });
  if (!onSwitch.vlanAware) return [found(where)];
  const vlans = options.vlans ?? [vlanOf(ip, reader.pick('switch', switchId, 'subnets') ?? [])];
  const { isIn = () => true } = options;
  return vlans.filter(isIn).map((vlan) => found({ ...where, vlan }));
}

/** Addresses that ports have, wherever they are; on a VLAN-aware switch of those that are in the VLAN of the address: in others it may be another's. */
export const portAddressesUnit = define.unit({
  name: 'portAddresses',
  over: 'port',
  run(reader, id) {
    const onSwitch = reader.pick('port', id, 'switch')!;
    const mac = macOf(reader.pick('port', id, 'mac')!);
    const isIn = (vlan: number): boolean =>
      isInVlan({ vlanAware: true }, { vlan: reader.pick('port', id, 'vlan') }, vlan);
    return reader
      .pick('port', id, 'addresses')!
      .flatMap((address) => resolves(reader, onSwitch, parseIp(address)!, mac, RESOLVE.owned, { isIn }));
  },
});

/** Addresses of router ports. */
export const routerAddressesUnit = define.unit({
  name: 'routerAddresses',
  over: 'routerPort',
  run(reader, id) {
    const onSwitch = reader.pick('routerPort', id, 'switch');
    if (onSwitch === undefined) return [];
    const mac = macOf(reader.pick('routerPort', id, 'mac')!);
    return reader.derive(ownAddresses, id).flatMap((ip) => {
      // Its link-local address is wherever the port is.
      const vlans = isLinkLocal(ip) ? { vlans: reader.derive(vlansOfRouterPort, id) } : {};
      return resolves(reader, onSwitch, ip, mac, RESOLVE.owned, vlans);
    });
  },
});

/** Addresses that were heard of: for routed packets only, as those who have them answer for themselves. */
export const neighboursUnit = define.unit({
  name: 'neighbours',
  over: 'neighbour',
  run(reader, id) {
    const { switch: onSwitch, address, mac } = reader.get('neighbour', id)!;
    const ip = parseIp(address);
    return ip === undefined
      ? []
      : resolves(reader, onSwitch, ip, macOf(mac), RESOLVE.heard, { registers: { routed: 1 } });
  },
});
