import type { RouterPort } from '../model/objects.ts';
import type { Effect, ScopeChange } from './events.ts';
import type { Ground } from './ground.ts';
import type { Installation } from './installation.ts';
import { unsolicitedAdvert } from './packet-in/router-advert.ts';
import type { SprayGuard } from './spray-guard.ts';

const INTERVAL_MS = 200_000;

/** Router advertisements that nobody asked for (RFC 4861 §6.2.4): to new ports, to all when a router changes, and now and then. */
export class Advertising {
  readonly #ground: Ground;
  readonly #installation: Installation;
  readonly #guard: SprayGuard;
  #lastMs: number;

  constructor(ground: Ground, installation: Installation, guard: SprayGuard, nowMs: number) {
    this.#ground = ground;
    this.#installation = installation;
    this.#guard = guard;
    this.#lastMs = nowMs;
  }

  tick(nowMs: number): Effect[] {
    if (nowMs - this.#lastMs < INTERVAL_MS) return [];
    this.#lastMs = nowMs;
    return this.toPorts(this.#ground.interfaces.bound().keys());
  }

  /** A switch has another router, or it another address: its workloads hear of it at once. */
  scopeChanged(changes: readonly ScopeChange[]): Effect[] {
    const { interfaces, scope } = this.#ground;
    const switches = new Set<string>();
    for (const { op, record } of changes) {
      const onSwitch = op === 'put' && record.kind === 'routerPort' ? (record as RouterPort).switch : undefined;
      if (onSwitch !== undefined) switches.add(onSwitch);
    }
    if (switches.size === 0) return [];
    const ports = [...interfaces.bound().keys()].filter((id) => switches.has(scope.port(id)?.switch ?? ''));
    return this.#installation.whenInstalled(() => this.toPorts(ports));
  }

  toPorts(ports: Iterable<string>): Effect[] {
    const { interfaces, scope, host } = this.#ground;
    const effects: Effect[] = [];
    for (const id of ports) {
      const ofport = interfaces.get(id)?.ofport;
      const frame = this.#guard.isShutOff(id) ? undefined : unsolicitedAdvert(scope, id, host);
      if (frame && ofport) effects.push({ kind: 'packetOut', frame, toOfport: ofport });
    }
    return effects;
  }
}
