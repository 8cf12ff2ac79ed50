import { formatIp, formatMac, type Ip, isMulticastMac, parseIp, parseMac } from '../base/addresses.ts';
import type { LogicalPort, LogicalSwitch, Subnet } from '../model/objects.ts';
import { isInVlan, routerOf } from '../model/subnets.ts';
import type { Journey } from './journey.ts';
import { nameOf } from './names.ts';
import { addressesOf, macsOf } from './ownership.ts';
import type { Leg, Packet } from './packet.ts';
import { placesOf } from './places.ts';
import { serviceMacFor } from './probes.ts';
import { type Holder, holderOf, isRouterPortIn } from './resolve.ts';
import { sameIp } from './tuple.ts';

/** Within a switch: answers, and where to (docs/design/layer2.md, steps 5 and 6). */
export interface Ingress {
  readonly port: LogicalPort;
  readonly switch: LogicalSwitch;
  readonly vlan: number;
}

/** Does the host itself answer? Then the frame's way ends here. */
export function answered(journey: Journey, { frame, host }: Packet, ingress: Ingress): boolean {
  const about = { kind: 'switch', id: ingress.switch.id } as const;
  const asked = askedAddress(frame);
  if (asked && !probesItsOwn(ingress.port, asked.ip)) {
    const holder =
      holderOf(journey.model, ingress.switch, asked.ip, ingress.vlan) ?? proberAt(journey, ingress, asked.ip);
    if (holder) {
      const [mac, address] = [formatMac(holder.mac), formatIp(asked.ip)];
      journey.answer = { kind: asked.kind, by: holder.by, mac, address };
      journey.step(host, about, `answers for ${nameOf(journey.model, holder.by)}: ${address} is at ${mac}`);
      return true;
    }
  }
  const inVlan = ingress.switch.subnets.filter(
    (s) => s.dhcp.enabled && (!ingress.switch.vlanAware || (s.vlan ?? 0) === ingress.vlan),
  );
  const has4 = inVlan.some((s) => !s.cidr.includes(':'));
  const has6 = inVlan.some((s) => s.cidr.includes(':'));
  const isUdp = frame.ip?.protocol === 17;
  if (has4 && frame.ip?.version === 4 && isUdp && frame.ports?.src === 68 && frame.ports.dst === 67)
    journey.agent = 'dhcp';
  else if (has6 && frame.ip?.version === 6 && isUdp && frame.ports?.src === 546 && frame.ports.dst === 547)
    journey.agent = 'dhcp6';
  else if (has6 && frame.ip?.version === 6 && frame.ip.protocol === 58 && frame.icmp?.type === 133)
    journey.agent = 'ra';
  else if (
    isUdp &&
    frame.ports?.dst === 53 &&
    ingress.switch.dns &&
    gatewaysOf(journey, ingress.switch, inVlan).some((ip) => sameIp(ip, frame.ip!.dst))
  )
    journey.agent = 'dns';
  if (journey.agent) journey.step(host, about, `the agent answers (${journey.agent})`);
  return journey.agent !== undefined;
}

/** Whom workloads ask for names: the gateways of their networks. */
function gatewaysOf({ model }: Journey, { id, tenant }: LogicalSwitch, subnets: readonly Subnet[]): Ip[] {
  const routerPorts = [...model.routerPortsOfSwitch(id)];
  return subnets.flatMap((subnet) => {
    const ip = subnet.gateway === undefined ? routerOf(subnet, tenant, routerPorts)?.ip : parseIp(subnet.gateway);
    return ip === undefined ? [] : [ip];
  });
}

/** Whence the switch itself asks members for their health. */
function proberAt({ model }: Journey, { port, switch: sw, vlan }: Ingress, ip: Ip): Holder | undefined {
  const mac = serviceMacFor(model, port, sw, ip, vlan);
  return mac === undefined ? undefined : { mac, by: { kind: 'switch', id: sw.id } };
}

function askedAddress(frame: Packet['frame']): { readonly kind: 'arp' | 'nd'; readonly ip: Ip } | undefined {
  if (frame.arp?.op === 1) return { kind: 'arp', ip: { version: 4, value: frame.arp.targetIp } as Ip };
  const isSolicitation =
    frame.ip?.version === 6 && frame.ip.protocol === 58 && frame.icmp?.type === 135 && frame.nd !== undefined;
  return isSolicitation && frame.ip!.src.value !== 0n
    ? { kind: 'nd', ip: { version: 6, value: frame.nd!.target } as Ip }
    : undefined;
}

/** It asks whether its own address is free: an answer would tell it that it is not. */
function probesItsOwn(port: LogicalPort, ip: Ip): boolean {
  return !port.portSecurity && addressesOf(port).some((own) => sameIp(own, ip));
}

/** Where the frame goes: into a router, to the ports that hold its destination, or to all. */
export function forward(journey: Journey, { packet, switch: sw, vlan }: Leg & { readonly at: 'switch' }): void {
  const { model } = journey;
  const { frame, host } = packet;
  const about = { kind: 'switch', id: sw.id } as const;
  const ports = [...model.portsOfSwitch(sw.id)].filter((p) => isInVlan(sw, p, vlan));
  const others = ports.filter((p) => isElsewhere(journey, packet, p));
  // The first leg that is noted is walked last: copies go in the order of the ports.
  const toPorts = (targets: readonly LogicalPort[]): void => {
    for (const port of targets.toReversed()) journey.goOn({ at: 'port', packet, switch: sw, port, vlan });
  };
  if (isMulticastMac(frame.dst)) {
    journey.step(host, about, `floods to ${others.length} ports`);
    if (others.length === 0) journey.drop('nobody', host, about);
    return toPorts(others);
  }
  for (const port of model.routerPortsOfSwitch(sw.id))
    if (parseMac(port.mac) === frame.dst && isRouterPortIn(sw, port, vlan))
      return journey.goOn({ at: 'router', packet, port });
  const holders = holdersOf(journey, ports, sw, vlan, frame.dst);
  if (holders.length > 0) {
    const targets = holders.filter((p) => isElsewhere(journey, packet, p));
    if (targets.length === 0) return journey.drop('hairpin', host, about);
    return toPorts(targets);
  }
  const unknown = others.filter((p) => !p.portSecurity);
  if (unknown.length === 0) return journey.drop('unknown-mac', host, about);
  const text = `does not know ${formatMac(frame.dst)}: floods to ${unknown.length} ports without port security`;
  journey.step(host, about, text);
  toPorts(unknown);
}

/** Ports that hold a MAC by themselves, or the one behind which it was learned. */
function holdersOf(
  { model }: Journey,
  ports: readonly LogicalPort[],
  sw: LogicalSwitch,
  vlan: number,
  wanted: number,
): LogicalPort[] {
  const holders = ports.filter((p) => macsOf(p).includes(wanted));
  if (holders.length > 0) return holders;
  const mac = formatMac(wanted);
  for (const learned of model.learnedOf(sw.id)) {
    if (learned.mac !== mac || learned.vlan !== vlan) continue;
    const target = ports.find((p) => p.id === learned.port && !p.portSecurity);
    if (target) return [target];
  }
  return [];
}

/** Has the port another place than the interface that the frame came from? */
function isElsewhere(journey: Journey, { from }: Packet, target: LogicalPort): boolean {
  return target.id !== from?.port || placesOf(journey, target).some((place) => place !== from.host);
}
