import { cidrContains, formatIp, formatMac, type Ip, isMulticastMac, parseCidr } from '../base/addresses.ts';
import type { LogicalPort, LogicalSwitch } from '../model/objects.ts';
import { walkChain } from './chains.ts';
import type { Journey } from './journey.ts';
import { addressesOf, macsOf } from './ownership.ts';
import { egressTag, isInVlan } from './vlans.ts';

/** From the switch to the workloads: answers, where to, and the ports' own side (docs/design/layer2.md, steps 5 to 7). */
export interface Ingress {
  readonly port: LogicalPort;
  readonly switch: LogicalSwitch;
  readonly host: string;
  readonly vlan: number;
}

/** Does the host itself answer? Then the frame's way ends here. */
export function answered(journey: Journey, ingress: Ingress): boolean {
  const { frame } = journey;
  const about = { kind: 'switch', id: ingress.switch.id } as const;
  const asked = askedAddress(journey);
  if (asked) {
    const owner = ownerOf(journey, ingress, asked.ip);
    if (owner) {
      journey.answer = { kind: asked.kind, port: owner.id, mac: owner.mac, address: formatIp(asked.ip) };
      journey.step(ingress.host, about, `answers for ${owner.name}: ${formatIp(asked.ip)} is at ${owner.mac}`);
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
  if (journey.agent) journey.step(ingress.host, about, `the agent answers (${journey.agent})`);
  return journey.agent !== undefined;
}

function askedAddress({ frame }: Journey): { readonly kind: 'arp' | 'nd'; readonly ip: Ip } | undefined {
  if (frame.arp?.op === 1) return { kind: 'arp', ip: { version: 4, value: frame.arp.targetIp } as Ip };
  const isSolicitation =
    frame.ip?.version === 6 && frame.ip.protocol === 58 && frame.icmp?.type === 135 && frame.nd !== undefined;
  return isSolicitation && frame.ip!.src.value !== 0n
    ? { kind: 'nd', ip: { version: 6, value: frame.nd!.target } as Ip }
    : undefined;
}

function ownerOf(journey: Journey, { port, switch: sw, vlan }: Ingress, ip: Ip): LogicalPort | undefined {
  const owns = (candidate: LogicalPort): boolean =>
    addressesOf(candidate).some((own) => own.version === ip.version && own.value === ip.value);
  // It probes whether its own address is free: an answer would tell it that it is not.
  if (!port.portSecurity && owns(port)) return undefined;
  for (const candidate of journey.model.portsOfSwitch(sw.id)) {
    if (owns(candidate) && (!sw.vlanAware || vlanOfAddress(sw, ip) === vlan)) return candidate;
  }
  return undefined;
}

/** On a VLAN-aware switch an address lives in the VLAN of its subnet, and in none where it has no subnet. */
function vlanOfAddress(sw: LogicalSwitch, ip: Ip): number {
  const subnet = sw.subnets.find((s) => cidrContains(parseCidr(s.cidr)!, ip));
  return subnet?.vlan ?? 0;
}

/** Where the frame goes, and what happens there. */
export function forward(journey: Journey, ingress: Ingress): void {
  const { frame, model } = journey;
  const { switch: sw, host, vlan } = ingress;
  const about = { kind: 'switch', id: sw.id } as const;
  const ports = [...model.portsOfSwitch(sw.id)].filter((p) => isInVlan(sw, p, vlan));
  const others = ports.filter((p) => isElsewhere(journey, ingress, p));
  if (isMulticastMac(frame.dst)) {
    journey.step(host, about, `floods to ${others.length} ports`);
    if (others.length === 0) journey.drop('nobody', host, about);
    for (const target of others) arrive(journey, ingress, target);
    return;
  }
  const holders = ports.filter((p) => macsOf(p).includes(frame.dst));
  if (holders.length > 0) return toHolders(journey, ingress, holders);
  const mac = formatMac(frame.dst);
  for (const learned of model.learnedOf(sw.id)) {
    if (learned.mac !== mac || learned.vlan !== vlan) continue;
    const target = ports.find((p) => p.id === learned.port && !p.portSecurity);
    if (target) return toHolders(journey, ingress, [target]);
  }
  const unknown = others.filter((p) => !p.portSecurity);
  if (unknown.length === 0) return journey.drop('unknown-mac', host, about);
  journey.step(host, about, `does not know ${mac}: floods to ${unknown.length} ports without port security`);
  for (const target of unknown) arrive(journey, ingress, target);
}

/** Has the port another place than the interface that the frame came from? */
function isElsewhere(journey: Journey, { port, host }: Ingress, target: LogicalPort): boolean {
  return target.id !== port.id || placesOf(journey, target).some((place) => place !== host);
}

/** Hosts that get frames for the port: where it is active and, during a declared migration, where it is about to be. */
function placesOf({ model }: Journey, target: LogicalPort): string[] {
  const binding = model.bindingOf(target.id);
  if (binding?.active === undefined) return [];
  return binding.claims.map((claim) => claim.host).filter((h) => h === binding.active || h === target.host);
}

function toHolders(journey: Journey, ingress: Ingress, holders: readonly LogicalPort[]): void {
  const targets = holders.filter((p) => isElsewhere(journey, ingress, p));
  const about = { kind: 'switch', id: ingress.switch.id } as const;
  if (targets.length === 0) return journey.drop('hairpin', ingress.host, about);
  for (const target of targets) {
    journey.step(ingress.host, about, `${formatMac(journey.frame.dst)} is port ${target.name}`);
    arrive(journey, ingress, target);
  }
}

/** At one port, in each of its places but where the frame came from. */
function arrive(journey: Journey, { port, host, switch: sw, vlan }: Ingress, target: LogicalPort): void {
  const about = { kind: 'port', id: target.id } as const;
  const places = placesOf(journey, target);
  if (!target.adminUp) return journey.drop('port-down', host, about, target.id);
  if (places.length === 0) return journey.drop('not-bound', host, about, target.id);
  for (const there of places) {
    if (target.id === port.id && there === host) continue;
    if (there !== host && zoneOf(journey, there) !== zoneOf(journey, host)) {
      journey.drop('no-tunnel', host, about, target.id);
      continue;
    }
    if (there !== host)
      journey.step(host, about, `through the tunnel to host ${journey.model.get('host', there)?.name ?? there}`);
    if (target.toChain !== undefined) {
      const decision = walkChain(journey, target.toChain, there, vlan);
      if (decision?.verdict === 'drop') {
        journey.drop('rule', there, { kind: 'rule', id: decision.rule.id }, target.id);
        continue;
      }
      if (!decision && journey.model.get('chain', target.toChain)?.policy === 'drop') {
        journey.drop('policy', there, { kind: 'chain', id: target.toChain }, target.id);
        continue;
      }
    }
    journey.step(there, about, `delivered to ${target.name}`);
    journey.deliver({ port: target.id, host: there, tag: egressTag(sw, target, vlan) });
  }
}

function zoneOf({ model }: Journey, host: string): string | undefined {
  return model.get('host', host)?.zone;
}
