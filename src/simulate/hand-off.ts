import { formatIp, type Mac } from '../base/addresses.ts';
import type { LoadBalancer, RouterPort } from '../model/objects.ts';
import type { ModelView } from '../model/view.ts';
import { TCP_FLAG } from '../packet/tcp.ts';
import { memberAt } from './balancers.ts';
import type { Frame } from './frame.ts';
import type { Journey } from './journey.ts';
import { nameOf } from './names.ts';
import { type Packet, sourceOf } from './packet.ts';
import { areJoined } from './places.ts';
import { foundKnown } from './uplinks.ts';

/** Connections of clients outside whose slots have moved (docs/design/layer3.md, §8, "Hand-off"). */

/** TCP that is no first SYN. */
export function isInMidConnection({ tcpFlags }: Frame): boolean {
  if (tcpFlags === undefined) return false;
  return (tcpFlags & TCP_FLAG.syn) === 0 || (tcpFlags & TCP_FLAG.ack) !== 0;
}

/** All members with an address but one, whether they serve or not. */
export function othersThan(model: ModelView, balancer: LoadBalancer, member: string | undefined): string[] {
  return balancer.members.flatMap(({ port }) => (port !== member && memberAt(model, balancer, port) ? [port] : []));
}

/** The packet as it goes on if the member's zone on this host knows it. */
export function askMember(
  journey: Journey,
  packet: Packet,
  balancer: LoadBalancer,
  member: string,
): readonly Packet[] | undefined {
  const { state, frame, connection } = journey.tracker.look(`vip:${member}@${packet.host}`, packet.frame);
  if (!connection) return undefined;
  const about = { kind: 'loadBalancer', id: balancer.id } as const;
  const name = nameOf(journey.model, { kind: 'port', id: member });
  journey.step(packet.host, about, `its connection is with ${name} (${formatIp(frame.ip!.dst)})`);
  return [foundKnown(journey, { ...packet, frame, state, vipMember: member }, about)];
}

/** To the others, a copy for each of their hosts; there nothing is handed on again. */
export function handOn(
  journey: Journey,
  packet: Packet,
  balancer: LoadBalancer,
  port: RouterPort,
  others: readonly string[],
): readonly Packet[] {
  const { model } = journey;
  const about = { kind: 'loadBalancer', id: balancer.id } as const;
  const hosts = new Set<string>();
  for (const id of others) {
    const active = model.bindingOf(id)?.active;
    if (active !== undefined && areJoined(journey, packet.host, active)) hosts.add(active);
  }
  if (hosts.size === 0) journey.drop('unknown-connection', packet.host, about);
  return [...hosts].flatMap((host) => {
    const here = host === packet.host ? packet : handOver(journey, packet, balancer, port, host);
    return others
      .filter((id) => model.bindingOf(id)?.active === host)
      .flatMap((id) => {
        const known = askMember(journey, here, balancer, id);
        if (!known) journey.drop('unknown-connection', host, about, id);
        return known ?? [];
      });
  });
}

function handOver(journey: Journey, packet: Packet, balancer: LoadBalancer, port: RouterPort, host: string): Packet {
  const at = { kind: 'routerPort', id: port.id } as const;
  const name = nameOf(journey.model, { kind: 'host', id: host });
  journey.step(packet.host, at, `through the tunnel to host ${name}: a member there may know its connection`);
  const marker = (0x024e_0000_0000 + balancer.key) as Mac;
  journey.anchor({
    from: packet.host,
    to: host,
    routerPort: port.id,
    frame: { ...packet.frame, src: sourceOf(packet), dst: marker },
  });
  const { state: _, gatewayPort: __, ...untracked } = packet;
  return { ...untracked, host, isLarger: false, isFromTunnel: true };
}
