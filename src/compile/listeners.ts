import { isOne, listenerPorts, memberPorts } from '../model/listener-ports.ts';
import type { LoadBalancer } from '../model/objects.ts';
import { openListeners } from '../model/serving.ts';
import type { FieldName } from '../openflow/fields.ts';
import type { Masked } from '../openflow/flow.ts';
import { portCover } from './bits.ts';
import { PROTO, type Registers } from './fields.ts';

/** What load balancers listen to, as flows ask for it (docs/design/layer3.md, §8). */

/** The protocols of listeners, with their fields. */
export const TRANSPORT = {
  tcp: { proto: PROTO.tcp, src: 'tcp_src', dst: 'tcp_dst' },
  udp: { proto: PROTO.udp, src: 'udp_src', dst: 'udp_dst' },
  sctp: { proto: PROTO.sctp, src: 'sctp_src', dst: 'sctp_dst' },
} as const satisfies Record<string, { proto: number; src: FieldName; dst: FieldName }>;

/** The port of members: one, or that which was asked for. */
export type MemberPort = number | 'asked';

export interface Listener {
  readonly protocol: keyof typeof TRANSPORT;
  /** Of the VIP: one, or an aligned block of a range. */
  readonly port: number | Masked;
  readonly memberPort: MemberPort;
}

/**
 * A range is as many listeners as it has aligned blocks. One that leads to other ports, each to its own, has one for each port: no translation moves a
 * range.
 */
export function listenersOf(balancer: Pick<LoadBalancer, 'listeners'>): Listener[] {
  return openListeners(balancer).flatMap((listener): Listener[] => {
    const { protocol } = listener;
    const [asked, led] = [listenerPorts(listener), memberPorts(listener)];
    if (isOne(led) || led.first === asked.first) {
      const memberPort = isOne(led) ? led.first : 'asked';
      return portCover(asked.first, asked.last).map((port) => ({ protocol, port, memberPort }));
    }
    const ports = Array.from({ length: asked.last - asked.first + 1 }, (_, i) => i);
    return ports.map((i) => ({ protocol, port: asked.first + i, memberPort: led.first + i }));
  });
}

/**
 * Where members of the balancer serve what later fragments are of, if that is beyond doubt: where all that it listens to is led there. Else only known
 * connections have such.
 */
export function onlyMemberPort(balancer: Pick<LoadBalancer, 'listeners'>): MemberPort | undefined {
  const [first, ...others] = new Set(listenersOf(balancer).map(({ memberPort }) => memberPort));
  return others.length === 0 && (first === 'asked' || openListeners(balancer).length === 1) ? first : undefined;
}

/** What the registers say of it. */
export function atMembers(memberPort: MemberPort): Registers {
  return memberPort === 'asked' ? { memberPort: 0, keepPort: 1 } : { memberPort };
}
