import { type Ip, parseIp } from '../../base/addresses.ts';
import type { Contribution } from '../../incremental/definitions.ts';
import { routerOf } from '../../model/subnets.ts';
import { localSwitch, toAgent } from '../facts.ts';
import { DNS_PORT, match, type Registers, UDP4, UDP6 } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, type Reader, routerPortsIndex } from '../inputs.ts';
import { ANSWER } from './answer.ts';

/** Names of workloads, asked of the gateway of a subnet: the agent answers. */
export const dnsUnit = define.unit({
  name: 'dns',
  over: 'switch',
  run(reader, id): readonly Contribution[] {
    if (reader.pick('switch', id, 'dns') !== true) return [];
    const onSwitch = reader.derive(localSwitch, id);
    if (onSwitch === undefined) return [];
    const tenant = reader.pick('switch', id, 'tenant');
    const routerPorts = portsOf(reader, id);
    const flows = new Map<string, Contribution>();
    for (const subnet of reader.pick('switch', id, 'subnets') ?? []) {
      const gateway: Ip | undefined =
        subnet.gateway === undefined ? routerOf(subnet, tenant, routerPorts)?.ip : parseIp(subnet.gateway);
      if (gateway === undefined || !subnet.dhcp.enabled) continue;
      const where: Registers = onSwitch.vlanAware
        ? { switch: onSwitch.key, vlan: subnet.vlan ?? 0 }
        : { switch: onSwitch.key };
      const asked =
        gateway.version === 4
          ? { ...UDP4, ip_dst: gateway.value, udp_dst: DNS_PORT }
          : { ...UDP6, ipv6_dst: gateway.value, udp_dst: DNS_PORT };
      const target = { do: [toAgent(reader, 'dns')], drop: 'agent' } as const;
      flows.set(`${where.vlan}/${gateway.value}`, flow('answer', ANSWER.agent, match(where, asked), target));
    }
    return [...flows.values()];
  },
});

function portsOf(reader: Reader, switchId: string): Parameters<typeof routerOf>[2] {
  return reader.ids(routerPortsIndex, switchId).map((id) => ({
    id,
    tenant: reader.pick('routerPort', id, 'tenant')!,
    addresses: reader.pick('routerPort', id, 'addresses')!,
    outside: reader.pick('routerPort', id, 'outside')!,
    adminUp: reader.pick('routerPort', id, 'adminUp')!,
  }));
}
