import { type Ip, parseIp } from '../../base/addresses.ts';
import type { Contribution } from '../../incremental/definitions.ts';
import { reachedSwitch } from '../facts.ts';
import { load, match, type Registers, scratchMac } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, type Reader } from '../inputs.ts';
import { macOf } from '../owned.ts';
import { ownAddresses, vlanOf } from '../routers.ts';

/**
 * Which MAC has an address of a switch: asked by routed packets for their next hop, and by ARP and neighbour solicitations of workloads
 * for their target (units/answer.ts). One flow per address serves both.
 */
export const RESOLVE = { owned: 300, heard: 100 } as const;

/** One flow of `resolve`; none for a switch that nothing from here can be in. */
export function resolves(
  reader: Reader,
  switchId: string,
  ip: Ip,
  mac: number,
  priority: number,
  registers: Registers = {},
): Contribution[] {
  const onSwitch = reader.derive(reachedSwitch, switchId);
  if (onSwitch === undefined) return [];
  const vlan = onSwitch.vlanAware ? { vlan: vlanOf(ip, reader.pick('switch', switchId, 'subnets') ?? []) } : {};
  const asked = match({ switch: onSwitch.key, ...vlan, ...registers }, { xxreg2: BigInt(ip.value) });
  return [flow('resolve', priority, asked, { do: load(scratchMac(mac)) })];
}

/** Addresses that ports have, wherever they are. */
export const portAddressesUnit = define.unit({
  name: 'portAddresses',
  over: 'port',
  run(reader, id) {
    const onSwitch = reader.pick('port', id, 'switch')!;
    const mac = macOf(reader.pick('port', id, 'mac')!);
    return reader
      .pick('port', id, 'addresses')!
      .flatMap((address) => resolves(reader, onSwitch, parseIp(address)!, mac, RESOLVE.owned));
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
    return reader.derive(ownAddresses, id).flatMap((ip) => resolves(reader, onSwitch, ip, mac, RESOLVE.owned));
  },
});

/** Addresses that were heard of: for routed packets only, as those who have them answer for themselves. */
export const neighboursUnit = define.unit({
  name: 'neighbours',
  over: 'neighbour',
  run(reader, id) {
    const { switch: onSwitch, address, mac } = reader.get('neighbour', id)!;
    const ip = parseIp(address);
    return ip === undefined ? [] : resolves(reader, onSwitch, ip, macOf(mac), RESOLVE.heard, { routed: 1 });
  },
});
