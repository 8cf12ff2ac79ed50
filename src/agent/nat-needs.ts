import { parseIp } from '../base/addresses.ts';
import type { Router } from '../model/objects.ts';
import { snatAddressFor } from '../model/snat.ts';
import type { Report } from '../server/protocol.ts';
import type { Effect, PacketIn, ScopeChange } from './events.ts';
import type { Ground } from './ground.ts';
import type { NatReturns } from './nat-returns.ts';
import { offenderOf } from './packet-in/offender.ts';

/** The server has answered by then, or did not hear. Where there are none to have it is asked less and less often: many hosts may be without. */
const ASK_AGAIN_MS = 2_000;
const ASK_SELDOM_MS = 16_000;
/**
 * Blocks of ports for source translation: asked for when a packet found none left, and ahead, as soon as a port here is behind a router
 * that translates its address (so that the first packet finds one) and the server has given none with the port's binding (src/server/nat-leases.ts).
 */
export class NatNeeds {
  readonly #ground: Ground;
  readonly #returns: Pick<NatReturns, 'wake'>;
  /** Router and address → when, and with how many ports, more were asked for. */
  readonly #asked = new Map<string, { readonly atMs: number; readonly have: number; readonly restMs: number }>();

  constructor(ground: Ground, returns: Pick<NatReturns, 'wake'>) {
    this.#ground = ground;
    this.#returns = returns;
  }

  /** A packet that its router could not translate. */
  handle(packet: PacketIn, nowMs: number): Effect[] {
    const { scope } = this.#ground;
    const id = scope.byKey('routerPort', packet.routerPortKey)?.router;
    const router = id === undefined ? undefined : scope.get('router', id);
    const offender = offenderOf(packet.frame);
    const to = router && offender && snatAddressFor(router, offender.src);
    const port = scope.portByKey(packet.portKey)?.id;
    if (!router || to === undefined) return [];
    const gateway = this.#ofGateway(port);
    const woken = this.#returns.wake(this.#leaseId(router.id, to, gateway), nowMs);
    return woken.length > 0 ? woken : this.#ground.report(this.#need(router.id, to, gateway, nowMs));
  }

  scopeChanged(changes: readonly ScopeChange[], nowMs: number): Effect[] {
    const { interfaces } = this.#ground;
    const isAboutMany = changes.some(
      ({ op, record: { kind } }) =>
        isAboutSnat(kind) || kind === 'l2Gateway' || (kind === 'natLease' && op === 'delete'),
    );
    if (isAboutMany) return this.ahead([...interfaces.bound().keys()], nowMs);
    return this.ahead(
      changes.flatMap(({ record: { kind, id } }) => (kind === 'port' && interfaces.get(id) ? [id] : [])),
      nowMs,
    );
  }

  /** These ports are here: which addresses will they need? */
  ahead(ports: readonly string[], nowMs: number): Effect[] {
    if (ports.length === 0 || !this.#ground.serverConnected) return [];
    const { scope } = this.#ground;
    const routersOf = new Map<string, Router[]>();
    for (const port of scope.all('routerPort')) {
      const router = scope.get('router', port.router);
      if (port.switch === undefined || port.outside || !router || router.snat.length === 0) continue;
      const behind = routersOf.get(port.switch);
      if (behind) behind.push(router);
      else routersOf.set(port.switch, [router]);
    }
    if (routersOf.size === 0) return [];
    const reports: Report[] = [];
    for (const id of ports) {
      const port = scope.port(id);
      const gateway = this.#ofGateway(id);
      if (gateway !== undefined && scope.binding(gateway)?.active !== this.#ground.host) continue;
      for (const router of (port && routersOf.get(port.switch)) ?? [])
        for (const address of port!.addresses) {
          const to = snatAddressFor(router, parseIp(address)!);
          if (to !== undefined && this.#ports(router.id, to, gateway) === 0)
            reports.push(...this.#need(router.id, to, gateway, nowMs));
        }
    }
    return this.#ground.report(reports);
  }

  /** The port, if it is that of an L2 gateway: then it has leases of its own. */
  #ofGateway(port: string | undefined): string | undefined {
    for (const gateway of this.#ground.scope.all('l2Gateway')) if (gateway.port === port) return port;
    return undefined;
  }

  /** How many ports of the address this host (or that port here) has. */
  #ports(router: string, address: string, port: string | undefined): number {
    const lease = this.#ground.scope.get('natLease', this.#leaseId(router, address, port));
    return lease?.blocks.reduce((sum, { size }) => sum + size, 0) ?? 0;
  }

  #leaseId(router: string, address: string, port: string | undefined): string {
    return `${router}/${address}/${port ?? this.#ground.host}`;
  }

  #need(router: string, address: string, port: string | undefined, nowMs: number): Report[] {
    if (!this.#ground.serverConnected) return [];
    const key = `${router}/${address}/${port ?? ''}`;
    const have = this.#ports(router, address, port);
    const before = this.#asked.get(key);
    const isAgain = before?.have === have;
    if (isAgain && nowMs - before.atMs < before.restMs) return [];
    const restMs = isAgain ? Math.min(2 * before.restMs, ASK_SELDOM_MS) : ASK_AGAIN_MS;
    this.#asked.set(key, { atMs: nowMs, have, restMs });
    return [{ type: 'natNeed', router, address, ...(port === undefined ? {} : { port }), have }];
  }

  /** A server that did not hear us is asked again. */
  serverIsNew(): void {
    this.#asked.clear();
  }
}

function isAboutSnat(kind: string): boolean {
  return kind === 'router' || kind === 'routerPort';
}
