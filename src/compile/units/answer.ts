import { parseCidr } from '../../base/addresses.ts';
import type { Contribution } from '../../incremental/definitions.ts';
import { localSwitch, toAgent } from '../facts.ts';
import { ARP_REQUEST, icmp6, match, ND, neighbor, type Registers, UDP4, UDP6 } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define } from '../inputs.ts';
import { cidrOf } from '../owned.ts';

/** What is answered on the host that asks (step 5). ARP and ND for known addresses: units/resolve.ts. */
export const ANSWER = { ownProbe: 400, probe: 310, ask: 300, agent: 200 } as const;

/** A port without port security that asks for its own address probes for duplicates: others are to hear it. */
export const ownProbesUnit = define.unit({
  name: 'ownProbes',
  over: 'interface',
  run(reader, id): readonly Contribution[] {
    if (reader.pick('port', id, 'portSecurity') !== false) return [];
    const from: Registers = { inPort: reader.pick('port', id, 'key')! };
    return reader.pick('port', id, 'addresses')!.map((address) => {
      const { ip } = cidrOf(address);
      return ip.version === 4
        ? flow('answer', ANSWER.ownProbe, match(from, { ...ARP_REQUEST, arp_tpa: ip.value }), { goto: 'tag' })
        : flow('answer', ANSWER.ownProbe, match(from, { ...neighbor(ND.solicit), nd_target: ip.value }), {
            goto: 'tag',
          });
    });
  },
});

/** DHCP, DHCPv6 and router solicitations, where a subnet has DHCP: the agent knows the answers. */
export const agentAnswersUnit = define.unit({
  name: 'agentAnswers',
  over: 'switch',
  run(reader, id) {
    const onSwitch = reader.derive(localSwitch, id);
    if (onSwitch === undefined) return [];
    const flows: Contribution[] = [];
    for (const subnet of reader.pick('switch', id, 'subnets') ?? []) {
      if (!subnet.dhcp.enabled) continue;
      const where: Registers = onSwitch.vlanAware
        ? { switch: onSwitch.key, vlan: subnet.vlan ?? 0 }
        : { switch: onSwitch.key };
      if (parseCidr(subnet.cidr)?.ip.version === 4) {
        const request = match(where, { ...UDP4, udp_src: 68, udp_dst: 67 });
        flows.push(flow('answer', ANSWER.agent, request, { do: [toAgent(reader, 'dhcp')], drop: 'agent' }));
        continue;
      }
      const request = match(where, { ...UDP6, udp_src: 546, udp_dst: 547 });
      const solicit = match(where, icmp6(ND.routerSolicit));
      flows.push(
        flow('answer', ANSWER.agent, request, { do: [toAgent(reader, 'dhcp6')], drop: 'agent' }),
        flow('answer', ANSWER.agent, solicit, { do: [toAgent(reader, 'routerSolicit')], drop: 'agent' }),
      );
    }
    return flows;
  },
});
