import { cidrContains, type Ip, parseCidr, parseIp } from '../../base/addresses.ts';
import type { Contribution } from '../../incremental/definitions.ts';
import { snatAddresses } from '../../model/snat.ts';
import { balancerFacts } from '../balancers.ts';
import { match } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, type Reader } from '../inputs.ts';
import { macOf } from '../owned.ts';
import { VIP_MAC } from '../probe.ts';
import { type OutsidePort, portsFacing, portsHolding } from '../translation.ts';
import { RESOLVE, resolves } from './resolve.ts';

/** Who answers for addresses that no port has: the router port in whose network they are (docs/design/layer3.md, §6.8). */

/** In `next`. */
const OWN_VIP = 200;

function answersFor(reader: Reader, ports: readonly OutsidePort[], ip: Ip): Contribution[] {
  return portsHolding(ports, ip).flatMap(({ switch: id, mac }) => resolves(reader, id!, ip, macOf(mac), RESOLVE.owned));
}

export const floatingAddressesUnit = define.unit({
  name: 'floatingAddresses',
  over: 'floatingAddress',
  run(reader, id) {
    const { address, router } = reader.get('floatingAddress', id)!;
    return answersFor(reader, reader.derive(portsFacing, router).outside, parseIp(address)!);
  },
});

export const snatAddressesUnit = define.unit({
  name: 'snatAddresses',
  over: 'router',
  run(reader, id) {
    const addresses = snatAddresses({ snat: reader.pick('router', id, 'snat') ?? [] });
    const { outside } = reader.derive(portsFacing, id);
    return [...addresses].flatMap((address) => answersFor(reader, outside, parseIp(address)!));
  },
});

export const vipAddressesUnit = define.unit({
  name: 'vipAddresses',
  over: 'loadBalancer',
  run(reader, id) {
    const balancer = reader.derive(balancerFacts, id);
    if (balancer === undefined) return [];
    const { vip, router, switch: onSwitch, speakerKey } = balancer;
    if (router === undefined) return resolves(reader, onSwitch!, vip, VIP_MAC + speakerKey, RESOLVE.owned);
    const { outside, inside } = reader.derive(portsFacing, router);
    const holding = inside.filter((port) => holds(reader, port.switch, vip));
    return [
      ...answersFor(reader, outside, vip),
      ...answering(holding, vip).flatMap(({ switch: id, mac }) =>
        resolves(reader, id!, vip, macOf(mac), RESOLVE.owned),
      ),
      // What nobody has translated by now would leave and come in again for ever.
      ...holding.map(({ key: routerPort }) =>
        flow('next', OWN_VIP, match({ routerPort }, { xxreg2: BigInt(vip.value) }), { drop: 'not-translated' }),
      ),
    ];
  },
});

/** Of each switch the port whose own network holds the address, else the first. */
function answering(ports: readonly OutsidePort[], ip: Ip): OutsidePort[] {
  const own = portsHolding(ports, ip);
  return [...Map.groupBy(ports, (port) => port.switch)].map(
    ([onSwitch, [first]]) => own.find((port) => port.switch === onSwitch) ?? first!,
  );
}

/** Is the address in a subnet of the switch? */
function holds(reader: Reader, switchId: string | undefined, ip: Ip): boolean {
  const subnets = switchId === undefined ? [] : (reader.pick('switch', switchId, 'subnets') ?? []);
  return subnets.some(({ cidr }) => cidrContains(parseCidr(cidr)!, ip));
}
