import { type Cidr, cidrContains, cidrsOverlap, parseCidr, parseIp } from '../../base/addresses.ts';
import type { Contribution } from '../../incremental/definitions.ts';
import type { Action, Match } from '../../openflow/flow.ts';
import { prefixMatch } from '../bits.ts';
import { switchFacts } from '../facts.ts';
import { load, match, type Registers, set } from '../fields.ts';
import { limitOf } from '../floating-limits.ts';
import { type FlowTarget, flow } from '../flow-sink.ts';
import { define, floatingIndex, type Reader } from '../inputs.ts';
import { macOf } from '../owned.ts';
import { linkOf } from '../routers.ts';
import { measure, sizeInto } from '../sizes.ts';
import { TABLES, type TableName } from '../tables.ts';
import { fromAddress } from '../translation.ts';
import { askForMac } from './router-base.ts';
import { throughChain } from './to-port.ts';

/** Out of a router (docs/design/layer3.md, §6.8): the out-chain of the port, the size, and what the port leads to. */

/** What the router made itself meets no chain. Odd ones: of what came in where packets are larger. */
const OUT_CHAIN = { own: 200, chain: 100 } as const;

export const outChainUnit = define.unit({
  name: 'outChain',
  over: 'routerPort',
  run(reader, id) {
    const chain = reader.pick('routerPort', id, 'outChain');
    const onSwitch = reader.pick('routerPort', id, 'switch');
    const size = onSwitch === undefined ? undefined : reader.derive(sizeInto, onSwitch);
    const through = chain === undefined ? undefined : throughChain(reader, chain, 'outVerdict');
    const routerPort = reader.pick('routerPort', id, 'key')!;
    const flows = (measured: readonly Action[], of: Registers, above: number): Contribution[] => {
      const past: FlowTarget = { do: measured, goto: 'leave' };
      const by = { routerPort, ...of };
      if (through === undefined) return [flow('outChain', OUT_CHAIN.chain + above, match(by), past)];
      return [
        flow('outChain', OUT_CHAIN.own + above, match({ ...by, own: 1 }), past),
        flow('outChain', OUT_CHAIN.chain + above, match(by), { ...through, do: [...measured, ...(through.do ?? [])] }),
      ];
    };
    const measured = size === undefined ? [] : [measure(size.mtu)];
    if (size?.of === 'all') return flows(measured, {}, 0);
    return [
      ...(size === undefined ? [] : flows(measured, { fromLarger: 1 }, 1)),
      ...(through === undefined ? [] : flows([], {}, 0)),
    ];
  },
});

export const leaveUnit = define.unit({
  name: 'leave',
  over: 'routerPort',
  run(reader, id): readonly Contribution[] {
    const link = reader.derive(linkOf, id);
    if (link === undefined) return [];
    const by = match({ routerPort: reader.pick('routerPort', id, 'key')! });
    const mac = set('eth_src', macOf(reader.pick('routerPort', id, 'mac')!));
    if (link.to === 'router') {
      const over = [mac, set('eth_dst', macOf(link.mac)), ...load({ router: link.router, routerPort: link.port })];
      // Sources are translated before the other router sees them.
      if (reader.pick('routerPort', id, 'outside')) {
        const onward: FlowTarget = { do: [...over, intoRouter] };
        return [
          flow('leave', 100, by, { goto: 'snat' }),
          flow('next', NEXT.peer, by, onward),
          ...limitedOut(reader, id, onward),
        ];
      }
      return [flow('leave', 100, by, { do: [...over, intoRouter] })];
    }
    if (!link.adminUp) return [flow('leave', 100, by, { drop: 'switch-down' })];
    const next: TableName = reader.pick('routerPort', id, 'outside') ? 'snat' : 'next';
    const limited = next === 'snat' ? limitedOut(reader, id, { do: askForMac, goto: 'arrive' }) : [];
    const beyond = vlansBeyond(reader, id, link.switch).map(({ hops, vlan, above }) =>
      flow(
        'leave',
        100 + above,
        { ...by, ...hops },
        {
          do: [mac, ...load({ switch: link.key, ...(vlan === 0 ? {} : { vlan, addTag: 1 }) })],
          goto: next,
        },
      ),
    );
    return [...beyond, ...limited];
  },
});

const NEXT = { limited: 200, peer: 100 } as const;

/** What has got a floating address as its source passes the meter of that (docs/design/layer3.md, §11), and goes on as all does. */
function limitedOut(reader: Reader, id: string, onward: FlowTarget): Contribution[] {
  const router = reader.pick('routerPort', id, 'router')!;
  const routerPort = reader.pick('routerPort', id, 'key')!;
  return reader.ids(floatingIndex, router).flatMap((floating) => {
    const ip = parseIp(reader.pick('floatingAddress', floating, 'address')!);
    const { meters, pass } = limitOf(reader, floating, 'out');
    if (ip === undefined || pass.length === 0) return meters;
    const target = { ...onward, do: [...pass, ...(onward.do ?? [])] };
    return [...meters, flow('next', NEXT.limited, match({ routerPort }, fromAddress(ip)), target)];
  });
}

const intoRouter: Action = { kind: 'resubmit', table: TABLES.routerIn.number };

interface HopsInVlan {
  readonly hops: Match;
  readonly vlan: number;
  readonly above: number;
}

/** In which VLAN the next hops are: on a VLAN-aware switch that of the subnet that holds them, and none (0) where there is no such subnet. */
function vlansBeyond(reader: Reader, id: string, switchId: string): HopsInVlan[] {
  const allIn = (vlan: number): HopsInVlan => ({ hops: {}, vlan, above: 0 });
  if (!reader.derive(switchFacts, switchId)?.vlanAware) return [allIn(0)];
  const networks = reader.pick('routerPort', id, 'addresses')!.map((text) => parseCidr(text)!);
  const subnets = (reader.pick('switch', switchId, 'subnets') ?? [])
    .map(({ cidr, vlan = 0 }) => ({ subnet: parseCidr(cidr)!, vlan }))
    .filter(({ subnet }) => networks.some((network) => cidrsOverlap(network, subnet)));
  const vlans = new Set(subnets.map(({ vlan }) => vlan));
  const isCovered = networks.every((network) =>
    subnets.some(({ subnet }) => subnet.prefix <= network.prefix && cidrContains(subnet, network.ip)),
  );
  if (!isCovered) vlans.add(0);
  if (vlans.size <= 1) return [allIn([...vlans][0] ?? 0)];
  return [allIn(0), ...subnets.filter(({ vlan }) => vlan !== 0).map(hopsIn)];
}

/** Next hops by number, which says their version too: that of an IPv4 packet may be an IPv6 address (RFC 8950). */
function hopsIn({ subnet: { ip, prefix }, vlan }: { readonly subnet: Cidr; readonly vlan: number }): HopsInVlan {
  const length = ip.version === 4 ? 96 + prefix : prefix;
  const xxreg2 = prefixMatch(BigInt(ip.value), length, 128);
  return { hops: xxreg2 === undefined ? {} : { xxreg2 }, vlan, above: 1 + length };
}
