import type { Ip } from '../../base/addresses.ts';
import type { Contribution } from '../../incremental/definitions.ts';
import type { LoadBalancer } from '../../model/objects.ts';
import type { Match } from '../../openflow/flow.ts';
import { balancerFacts, memberAddress } from '../balancers.ts';
import { localSwitch, toAgent } from '../facts.ts';
import { match, PROTO } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, memberOfIndex, type Reader, routerPortsIndex } from '../inputs.ts';
import { PROBE_PORTS, type ProbeRouterPort, probeSource } from '../probe.ts';
import { RESOLVE, resolves } from './resolve.ts';
import { addressedTo } from './router-base.ts';

/** In `vip`, above all: answers to probes are seen by no tracking, group or chain. */
const ANSWER = 1000;

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
    for (const balancer of reader.ids(memberOfIndex, id)) {
      const type = reader.pick('loadBalancer', balancer, 'health')?.type;
      const version = reader.derive(balancerFacts, balancer)?.vip.version;
      const member = version && memberAddress(reader, id, version);
      if (type === undefined || member === undefined) continue;
      const source = probeSource(onSwitch.key, member, routerPorts(reader, switchId!));
      const from = match({ inPort: key }, addressedTo(source.ip));
      for (const answer of answers(type, source.ip)) {
        const target = { ...(isHeld ? {} : { do: [toAgent(reader, 'probe')] }), drop: 'agent' } as const;
        flows.set(`${version}/${JSON.stringify(answer)}`, [flow('vip', ANSWER, { ...from, ...answer }, target)]);
      }
      if (!source.isRouters) flows.set(`${version}`, resolves(reader, switchId!, source.ip, source.mac, RESOLVE.owned));
    }
    return [...flows.values()].flat();
  },
});

function routerPorts(reader: Reader, switchId: string): ProbeRouterPort[] {
  return reader.ids(routerPortsIndex, switchId).map((id) => ({
    id,
    mac: reader.pick('routerPort', id, 'mac')!,
    addresses: reader.pick('routerPort', id, 'addresses')!,
  }));
}

type HealthType = NonNullable<LoadBalancer['health']>['type'];

/** What a member may answer to a probe of this kind. */
function answers(type: HealthType, { version }: Ip): Match[] {
  const icmp = version === 4 ? PROTO.icmp : PROTO.icmpv6;
  const icmpOf = (of4: number, of6: number, code: number): Match =>
    version === 4
      ? { ip_proto: icmp, icmp_type: of4, icmp_code: code }
      : { ip_proto: icmp, icmpv6_type: of6, icmpv6_code: code };
  switch (type) {
    case 'tcp':
    case 'http':
      return [{ ip_proto: PROTO.tcp, tcp_dst: PROBE_PORTS }];
    case 'udp':
      return [{ ip_proto: PROTO.udp, udp_dst: PROBE_PORTS }, version === 4 ? icmpOf(3, 1, 3) : icmpOf(3, 1, 4)];
    case 'icmp':
      return [icmpOf(0, 129, 0)];
  }
}
