import { qualifiedName } from '../model/describe.ts';
import type { ModelIndex } from '../model/model-index.ts';
import type { Router } from '../model/objects.ts';
import { freePortsByAddress, freePortsOf, type LeaseNeed } from './nat-leases.ts';
import type { StatusProblem } from './present.ts';

/** An agent that drops packets for want of ports asks at least every 16 s: who was not heard for longer drops none. */
const RECENT_MS = 20_000;

/**
 * Hosts that asked in vain for ports of an SNAT address, while they drop connections for it (docs/design/layer3.md, §7). `nowMs`: by a clock that does
 * not step.
 */
export class NatShortages {
  /** Host, router and address → when it asked last. */
  readonly #refused = new Map<string, { readonly host: string; readonly need: LeaseNeed; readonly atMs: number }>();

  refused(host: string, need: LeaseNeed, nowMs: number): void {
    this.#forget(nowMs);
    const key = `${host} ${need.router} ${need.address}`;
    this.#refused.delete(key); // the oldest stay first
    this.#refused.set(key, { host, need, atMs: nowMs });
  }

  #forget(nowMs: number): void {
    for (const [key, { atMs }] of this.#refused) {
      if (nowMs - atMs < RECENT_MS) break;
      this.#refused.delete(key);
    }
  }

  /** Addresses without a free port, and hosts that drop new connections because they get no more. */
  problems(index: ModelIndex, nowMs: number): readonly StatusProblem[] {
    this.#forget(nowMs);
    const problems: StatusProblem[] = [];
    const report = (router: Router, text: string): void => {
      const name = qualifiedName(index, router);
      problems.push({ about: { kind: 'router', id: router.id, name }, text: `router ${name}: ${text}` });
    };
    for (const router of index.all('router'))
      for (const [address, free] of freePortsByAddress(index, router.id))
        if (free === 0)
          report(
            router,
            `all ports of ${address} are leased: hosts that have none drop what they should translate to it (no-ports)`,
          );
    for (const { host, need } of this.#refused.values()) {
      const router = index.get('router', need.router);
      if (router) report(router, shortage(index, host, need));
    }
    return problems;
  }
}

/** What a person is told of a host that asks in vain. */
export function shortage(index: ModelIndex, hostId: string, need: LeaseNeed): string {
  const host = index.get('host', hostId)?.name ?? hostId;
  const free = freePortsOf(index, need);
  const why =
    free === 0
      ? `all ports of ${need.address} are leased`
      : `${host} has its share of the ports of ${need.address}, the ${free} that are free are for others`;
  return `${why}: new connections from ${host} are dropped (no-ports) until old ones end; give the snat rule more addresses`;
}
