import { formatIp } from '../../base/addresses.ts';
import type { Contribution } from '../../incremental/definitions.ts';
import type { LoadBalancer } from '../../model/objects.ts';
import { healthPort } from '../../model/serving.ts';
import type { Match } from '../../openflow/flow.ts';
import { balancerFacts, memberAddress } from '../balancers.ts';
import { localSwitch, toAgent } from '../facts.ts';
import { load, match, PROTO } from '../fields.ts';
import { type FlowTarget, flow } from '../flow-sink.ts';
import { define, memberOfIndex, type Reader, routerPortsIndex } from '../inputs.ts';
import { TRANSPORT } from '../listeners.ts';
import { PROBE_PORTS, type ProbeRouterPort, type ProbeSource, probeSource } from '../probe.ts';
import { answering, track, untracked, zoneOf } from '../translation.ts';
import { RESOLVE, resolves } from './resolve.ts';
import { addressedTo } from './router-base.ts';

/** In `vip`, above all: answers to probes are seen by no tracking, group or chain. */
const ANSWER = { ask: 1001, take: 1000 } as const;

type HealthType = NonNullable<LoadBalancer['health']>['type'];

/** What members here answer to the agent's probes goes to the agent. */
export const probeUnit = define.unit({
  name: 'probe',
  over: 'interface',
  run(reader, id): readonly Contribution[] {
    const key = reader.pick('port', id, 'key');
    const switchId = reader.pick('port', id, 'switch');
    const onSwitch = switchId === undefined ? undefined : reader.derive(localSwitch, switchId);
    if (key === undefined || onSwitch === undefined) return [];
    const flows = new Map<string, Contribution[]>();
    const isHeld = reader.pick('heldBack', id, 'talk') === true;
    const take = { ...(isHeld ? {} : { do: [toAgent(reader, 'probe')] }), drop: 'agent' } as const;
    for (const balancer of reader.ids(memberOfIndex, id)) {
      const health = reader.pick('loadBalancer', balancer, 'health');
      const source = health && sourceFor(reader, id, balancer);
      if (source === undefined) continue;
      const from = match({ inPort: key }, addressedTo(source.ip));
      const asked = healthPort(health!, reader.pick('loadBalancer', balancer, 'listeners')!);
      const where = formatIp(source.ip);
      for (const answer of answers(health!.type, source, asked))
        flows.set(`${where} ${JSON.stringify(answer)}`, taken({ ...from, ...answer }, source, take));
      if (source.of !== 'switch') continue;
      // Nobody else asks for it.
      const only = { vlans: [source.vlan], registers: { inPort: key, routed: 0 } };
      flows.set(where, resolves(reader, switchId!, source.ip, source.mac, RESOLVE.owned, only));
    }
    return [...flows.values()].flat();
  },
});

function sourceFor(reader: Reader, port: string, balancer: string): ProbeSource | undefined {
  const facts = reader.derive(balancerFacts, balancer);
  const address = facts && memberAddress(reader, port, facts.vip.version);
  if (address === undefined) return undefined;
  const id = reader.pick('port', port, 'switch')!;
  const [key, vlanAware] = [reader.pick('switch', id, 'key')!, reader.pick('switch', id, 'vlanAware')!];
  const on = { id, key, vlanAware, subnets: reader.pick('switch', id, 'subnets')! };
  const member = { address, vlan: reader.pick('port', port, 'vlan'), switch: on };
  return probeSource(member, routerPorts(reader, id), { ...facts!, ip: facts!.vip });
}

function routerPorts(reader: Reader, switchId: string): ProbeRouterPort[] {
  return reader.ids(routerPortsIndex, switchId).map((id) => ({
    id,
    mac: reader.pick('routerPort', id, 'mac')!,
    addresses: reader.pick('routerPort', id, 'addresses')!,
  }));
}

/**
 * At a VIP an answer can be one of the member to itself, which called the VIP: the zone of its port knows such. Datagrams of those in fragments go on, too:
 * probes are answered by whole packets.
 */
function taken(answer: Match, { of }: ProbeSource, take: FlowTarget): Contribution[] {
  if (of !== 'vip' || answer.ip_proto === PROTO.icmp) return [flow('vip', ANSWER.take, answer, take)];
  const ask = { do: [...zoneOf('inZone', 'own'), track('vip')] };
  return [
    flow('vip', ANSWER.ask, { ...answer, ...untracked }, ask),
    flow('vip', ANSWER.ask, { ...answer, ...answering }, { do: load({ natZone: 0 }), goto: 'tracked' }),
    flow('vip', ANSWER.take, answer, take),
  ];
}

/** What a member may answer to a probe of this kind. At a VIP others than probes come from ports like theirs: there they are told apart by the port that was asked, too. */
function answers(type: HealthType, { ip: { version }, of }: ProbeSource, asked: number): Match[] {
  const icmp = version === 4 ? PROTO.icmp : PROTO.icmpv6;
  const icmpOf = (of4: number, of6: number, code: number): Match =>
    version === 4
      ? { ip_proto: icmp, icmp_type: of4, icmp_code: code }
      : { ip_proto: icmp, icmpv6_type: of6, icmpv6_code: code };
  const l4Of = (protocol: 'tcp' | 'udp'): Match => {
    const { proto, src, dst } = TRANSPORT[protocol];
    return { ip_proto: proto, [dst]: PROBE_PORTS, ...(of === 'vip' ? { [src]: asked, ip_frag: 0 } : {}) };
  };
  switch (type) {
    case 'tcp':
    case 'http':
      return [l4Of('tcp')];
    case 'udp':
      return [l4Of('udp'), version === 4 ? icmpOf(3, 1, 3) : icmpOf(3, 1, 4)];
    case 'icmp':
      return [icmpOf(0, 129, 0)];
  }
}
