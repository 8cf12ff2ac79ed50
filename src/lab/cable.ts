import { scriptIn } from './namespaces.ts';

/**
 * A cable of the lab: both ends are links to ports of a Linux bridge in the middle, in a namespace of the lab's own. So
 * it can be pulled out (its ends lose carrier) and also fall silent, as one does behind a switch that is broken: every
 * carrier is there and no frame passes, which only a protocol notices.
 */
export interface Cable {
  readonly namespace: string;
  /** Ports of the bridge: one of a cable into a shared bridge, two of one between two places. */
  readonly ports: readonly string[];
}

/** What `brport/state` says. */
const FORWARDING = '3';

/** Pulls it out: both ends lose carrier. */
export async function cut(cable: Cable): Promise<void> {
  await scriptIn(
    cable.namespace,
    cable.ports.map((port) => `ip link set ${port} down`),
  );
}

/** Drops every frame both ways; carriers stay. */
export async function silence(cable: Cable): Promise<void> {
  await scriptIn(
    cable.namespace,
    cable.ports.map((port) => `bridge link set dev ${port} state 0`),
  );
}

/** Undoes both; returns when it carries frames. Error: `refused` when it does not within three seconds. */
export async function restore(cable: Cable): Promise<void> {
  await scriptIn(
    cable.namespace,
    cable.ports.flatMap((port) => [
      `ip link set ${port} up`,
      // Refused while there is no carrier yet; the bridge does it by itself then.
      `bridge link set dev ${port} state ${FORWARDING} 2>/dev/null || true`,
    ]),
  );
  await forwards(cable);
}

/**
 * Returns when frames pass. The kernel tells of a carrier up to a second after it is there, and a bridge takes no frame
 * from a port before that. Error: `refused` when they do not within three seconds.
 */
export async function forwards({ namespace, ports }: Cable): Promise<void> {
  if (ports.length === 0) return;
  await scriptIn(namespace, [
    `for port in ${ports.join(' ')}; do`,
    '  tries=0',
    `  until [ "$(cat /sys/class/net/$port/brport/state)" = ${FORWARDING} ]; do`,
    '    tries=$((tries + 1)); [ $tries -lt 300 ] || { echo "$port does not forward" >&2; exit 1; }',
    '    sleep 0.01',
    '  done',
    'done',
  ]);
}

/** Shell lines that make a bridge without delays of its own, and join ports to it. */
export function bridgeLines(bridge: string, options: string, ports: readonly string[]): string[] {
  return [
    `ip link add ${bridge} ${options} type bridge mcast_snooping 0 forward_delay 0`,
    `ip link set ${bridge} up`,
    ...ports.flatMap((port) => [
      `ethtool -K ${port} tx off >/dev/null`,
      // Up first: a port that has a carrier when it joins forwards at once.
      `ip link set ${port} up`,
      `ip link set ${port} master ${bridge}`,
    ]),
  ];
}
