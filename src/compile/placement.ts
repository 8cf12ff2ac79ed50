import { selfHost } from './facts.ts';
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
  const self = selfHost(reader);
  const here = reader.pick('interface', port, 'ofport');
  const binding = reader.get('binding', port);
  const active = binding?.active ?? (here === undefined ? undefined : self);
  if (active === undefined) return { hosts: [] };
  const hosts = [active];
  if (binding !== undefined && binding.claims.length > 1) {
    const requested = reader.pick('port', port, 'host');
    if (requested !== undefined && requested !== active && binding.claims.some(({ host }) => host === requested)) {
      hosts.push(requested);
      hosts.sort();
    }
  }
  return here !== undefined && self !== undefined && hosts.includes(self) ? { hosts, ofport: here } : { hosts };
}

/** May a port that is here send? `active`: all; `requested`: all, it is moving here; `announce`: only what makes it active. */
export function sendsHere(reader: Reader, port: string): 'active' | 'requested' | 'announce' {
  const binding = reader.get('binding', port);
  const self = selfHost(reader);
  if (binding?.active === undefined || binding.active === self) return 'active';
  return reader.pick('port', port, 'host') === self ? 'requested' : 'announce';
}
