import { type Ip, parseCidr, parseIp } from '../../base/addresses.ts';
import type { Contribution } from '../../incremental/definitions.ts';
import { snatAddresses } from '../../model/snat.ts';
import { match } from '../fields.ts';
import { type FlowTarget, flow } from '../flow-sink.ts';
import { define, portsOfRouterIndex, type Reader } from '../inputs.ts';
import { ownAddresses } from '../routers.ts';
import { from, fromAddress } from '../translation.ts';
import { askForMac } from './router-base.ts';

/**
 * What a router sends into a network that another tenant shares has a source that the router has (docs/design/layer3.md, §6.8): a workload
 * whose own network says that it owns an address of that one, or anybody's, harms nobody there.
 */
/** In `next`, below what is dropped for other reasons. */
const NEXT = { own: 150, foreign: 140 } as const;
const go: FlowTarget = { do: askForMac, goto: 'arrive' };

/** Keys of a router's ports on switches of other tenants. */
const portsAbroad = define.cell<readonly number[]>({
  name: 'portsAbroad',
  run: (reader, router) =>
    reader
      .ids(portsOfRouterIndex, router)
      .filter((id) => switchAbroad(reader, id) !== undefined)
      .map((id) => reader.pick('routerPort', id, 'key')!),
});

/** The switch of a router port, where it is another tenant's. */
function switchAbroad(reader: Reader, id: string): string | undefined {
  const onSwitch = reader.pick('routerPort', id, 'switch');
  const tenant = onSwitch === undefined ? undefined : reader.pick('switch', onSwitch, 'tenant');
  return tenant === undefined || tenant === reader.pick('routerPort', id, 'tenant') ? undefined : onSwitch;
}

function mayLeave(reader: Reader, router: string, ip: Ip | undefined): Contribution[] {
  if (ip === undefined) return [];
  return reader
    .derive(portsAbroad, router)
    .map((routerPort) => flow('next', NEXT.own, match({ routerPort }, fromAddress(ip)), go));
}

export const routerPortSourcesUnit = define.unit({
  name: 'routerPortSources',
  over: 'routerPort',
  run(reader, id) {
    const onSwitch = switchAbroad(reader, id);
    if (onSwitch === undefined) return [];
    const at = match({ routerPort: reader.pick('routerPort', id, 'key')! });
    const drop: FlowTarget = { drop: 'spoofed-ip' };
    // An inside port routes what is elsewhere, too: just nothing that pretends to be of this network.
    const foreign = reader.pick('routerPort', id, 'outside')
      ? [flow('next', NEXT.foreign, at, drop)]
      : (reader.pick('switch', onSwitch, 'subnets') ?? []).map(({ cidr }) =>
          flow('next', NEXT.foreign, { ...at, ...from(parseCidr(cidr)!) }, drop),
        );
    const router = reader.pick('routerPort', id, 'router')!;
    return [...foreign, ...reader.derive(ownAddresses, id).flatMap((ip) => mayLeave(reader, router, ip))];
  },
});

export const snatSourcesUnit = define.unit({
  name: 'snatSources',
  over: 'router',
  run(reader, id) {
    const addresses = snatAddresses({ snat: reader.pick('router', id, 'snat') ?? [] });
    return [...addresses].flatMap((address) => mayLeave(reader, id, parseIp(address)));
  },
});

export const floatingSourcesUnit = define.unit({
  name: 'floatingSources',
  over: 'floatingAddress',
  run(reader, id) {
    const router = reader.pick('floatingAddress', id, 'router')!;
    return mayLeave(reader, router, parseIp(reader.pick('floatingAddress', id, 'address')!));
  },
});

export const vipSourcesUnit = define.unit({
  name: 'vipSources',
  over: 'loadBalancer',
  run(reader, id) {
    const router = reader.pick('loadBalancer', id, 'router');
    return router === undefined ? [] : mayLeave(reader, router, parseIp(reader.pick('loadBalancer', id, 'address')!));
  },
});
