import { cidrContains, type Ip, parseCidr, parseIp } from '../../base/addresses.ts';
import type { Contribution } from '../../incremental/definitions.ts';
import type { NextHopProbe } from '../../model/objects.ts';
import type { Match } from '../../openflow/flow.ts';
import { localSwitch, toAgent } from '../facts.ts';
import { ARP_REPLY, load, match, ND, neighbor, PROTO } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, routerPortsIndex } from '../inputs.ts';
import { macOf } from '../owned.ts';
import { connectedNetworks, portTowards } from '../routers.ts';
import { addressedTo } from './router-base.ts';

/**
 * What next hops outside answer to the agent's probes (docs/design/gateways.md, §7). Only what the wire's own interface hands over, for the MAC
 * of the router port that asked: seen by no conntrack, chain or group, and by nobody else.
 *
 *     vip ─┬─(ARP reply, advertisement of the next hop)───────────────▶ agent
 *          └─(echo reply to the address that pings)─▶ own ─(its source)─▶ agent, or dropped
 *
 * The source of an echo reply is asked in `own`, where nothing else comes: in `vip` the megaflows of all that comes in by the wire would hold it.
 */
const ANSWER = 980;
/** In `own`, above all. */
const PINGED = 500;

interface Probed {
  readonly hop: Ip;
  readonly type: NextHopProbe['type'];
  /** The router port's address that asks. */
  readonly asker: Ip;
}

/** Next hops that a router port's network holds and that are probed, each once. */
export const probedAt = define.cell<readonly Probed[]>({
  name: 'probedAt',
  run: (reader, id) => {
    const router = reader.pick('routerPort', id, 'router')!;
    const probed = (reader.pick('router', router, 'routes') ?? []).filter(({ probe }) => probe !== undefined);
    if (probed.length === 0) return [];
    const networks = reader.derive(connectedNetworks, router);
    const key = reader.pick('routerPort', id, 'key')!;
    const own = reader.pick('routerPort', id, 'addresses')!.map((text) => parseCidr(text)!);
    const found = new Map<string, Probed>();
    for (const { via, probe } of probed) {
      const hop = parseIp(via!)!;
      const asker = own.find((network) => cidrContains(network, hop))?.ip;
      if (asker !== undefined && portTowards(networks, hop) === key) found.set(via!, { hop, type: probe!.type, asker });
    }
    return [...found.values()];
  },
});

export const nextHopProbeUnit = define.unit({
  name: 'nextHopProbe',
  over: 'interface',
  run(reader, id): readonly Contribution[] {
    const switchId = reader.pick('port', id, 'switch');
    const isWire = reader.pick('port', id, 'portSecurity') === false;
    const onSwitch = isWire && switchId !== undefined ? reader.derive(localSwitch, switchId) : undefined;
    if (onSwitch === undefined || onSwitch.vlanAware) return [];
    const inPort = reader.pick('port', id, 'key')!;
    const target = { do: [toAgent(reader, 'nextHop')], drop: 'agent' } as const;
    return reader.ids(routerPortsIndex, switchId!).flatMap((routerPort) => {
      const from = match({ inPort }, { eth_dst: macOf(reader.pick('routerPort', routerPort, 'mac')!) });
      const pinged = new Set<bigint>();
      return reader.derive(probedAt, routerPort).flatMap(({ hop, type, asker }): Contribution[] => {
        if (type === 'arp') return [flow('vip', ANSWER, { ...from, ...neighbourAnswer(hop) }, target)];
        if (type === 'bfd') return [];
        const answer = { ...addressedTo(asker), ...ECHO_REPLY[asker.version] };
        const source: Match = hop.version === 4 ? { ip_src: hop.value } : { ipv6_src: hop.value };
        const heard = flow('own', PINGED, match({ forRouter: 1, inPort }, { ...answer, ...source }), target);
        if (pinged.has(BigInt(asker.value))) return [heard];
        pinged.add(BigInt(asker.value));
        return [flow('vip', ANSWER, { ...from, ...answer }, { do: load({ forRouter: 1 }), goto: 'own' }), heard];
      });
    });
  },
});

function neighbourAnswer(hop: Ip): Match {
  return hop.version === 4 ? { ...ARP_REPLY, arp_spa: hop.value } : { ...neighbor(ND.advert), nd_target: hop.value };
}

/** RFC 792, RFC 4443 §4.2. */
const ECHO_REPLY: Readonly<Record<4 | 6, Match>> = {
  4: { ip_proto: PROTO.icmp, ip_frag: 0, icmp_type: 0 },
  6: { ip_proto: PROTO.icmpv6, ip_frag: 0, icmpv6_type: 129 },
};
