import { selfHost, wayTo } from './facts.ts';
import type { Reader } from './inputs.ts';

/** Where a port is, as this host sees it. */
export interface Placement {
  /** Hosts that get frames for the port, sorted: its active claim, and while it moves there the requested one. */
  readonly hosts: readonly string[];
  /** Set when this host is one of them and has the interface: its OpenFlow port. */
  readonly ofport?: number;
}

/**
 * What a port's binding says. An interface that is here counts as a claim where the binding knows none: the server has
 * then just not heard of it (or cannot, being away), and nobody else has the port.
 */
export function placementOf(reader: Reader, port: string): Placement {
  const binding = reader.get('binding', port);
  if (binding?.active === undefined) {
    const ofport = reader.pick('interface', port, 'ofport');
    const self = ofport === undefined ? undefined : selfHost(reader);
    return ofport === undefined || self === undefined ? NOWHERE : { hosts: [self], ofport };
  }
  const { active, claims } = binding;
  const hosts = [active];
  if (claims.length > 1) {
    const requested = reader.pick('port', port, 'host');
    if (requested !== undefined && requested !== active && claims.some(({ host }) => host === requested)) {
      hosts.push(requested);
      hosts.sort();
    }
  }
  // Most ports are elsewhere: their interface is not even asked for.
  const ofport = hosts.some((host) => reader.derive(wayTo, host) === 'here')
    ? reader.pick('interface', port, 'ofport')
    : undefined;
  return ofport === undefined ? { hosts } : { hosts, ofport };
}

const NOWHERE: Placement = { hosts: [] };

/** May a port that is here send? `active`: all; `requested`: all, it is moving here; `announce`: only what makes it active. */
export function sendsHere(reader: Reader, port: string): 'active' | 'requested' | 'announce' {
  const binding = reader.get('binding', port);
  const self = selfHost(reader);
  if (binding?.active === undefined || binding.active === self) return 'active';
  return reader.pick('port', port, 'host') === self ? 'requested' : 'announce';
}
