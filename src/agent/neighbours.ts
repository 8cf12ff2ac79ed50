import {
  cidrContains,
  formatIp,
  formatMac,
  type Ip,
  type Ipv4,
  type Ipv6,
  parseCidr,
  parseIp,
  parseMac,
} from '../base/addresses.ts';
import type { LogicalPort, LogicalSwitch, Neighbour, RouterPort, ScopeRecord } from '../model/objects.ts';
import { isHostAddress } from '../model/subnets.ts';
import type { ReportedNeighbour } from '../server/protocol.ts';
import type { Effect, PacketIn, ScopeChange } from './events.ts';
import type { Ground } from './ground.ts';
import type { PacketErrors } from './packet-errors.ts';
import { neighbourQuestion, neighbourSaid } from './packet-in/neighbour-frames.ts';
import { tagAt } from './packet-in/reply.ts';
import { RateLimit } from './rate-limit.ts';
import { addressOf, networksOf } from './router-addresses.ts';

/** Packets that wait for one next hop, and for all. */
const WAITING_PER_HOP = 16;
const WAITING = 256;
const WAIT_MS = 3_000;
const ASK_INTERVAL_MS = 1_000;
/** A neighbour behind our own port is asked again so often, and is forgotten when it does not answer for so long. */
const CHECK_INTERVAL_MS = 30_000;
const FORGET_MS = 95_000;
/** Addresses that one port may have in use by routers; more are not heard. */
const PER_PORT = 1_024;
const PER_SENDER = { perSecond: 100, burst: 200 } as const;
const ALTOGETHER = { perSecond: 1000, burst: 1000 } as const;

/** Packets for one address of one switch whose MAC nobody knows yet. */
interface Wanted {
  readonly routerPort: string;
  readonly switchId: string;
  readonly target: Ip;
  readonly vlan: number;
  readonly packets: { readonly packet: PacketIn; readonly untilMs: number }[];
  askedMs: number;
}

interface Known {
  readonly record: Neighbour;
  heardMs: number;
  checkedMs: number;
}

/**
 * Next hops that no port has as its own (docs/design/layer3.md, §6.8). Who needs one asks over the switch, and keeps the packets meanwhile;
 * the host behind whose port it answers tells the server, and so all. That host asks again from time to time, and forgets who is silent.
 */
export class Neighbours {
  readonly #ground: Ground;
  readonly #errors: PacketErrors;
  readonly #whenInstalled: (callback: () => Effect[]) => Effect[];
  readonly #wanted = new Map<string, Wanted>();
  /** Behind our own ports. */
  readonly #own = new Map<string, Known>();
  readonly #limit = new RateLimit(PER_SENDER, ALTOGETHER);
  /** Packets of all `#wanted`. */
  #waiting = 0;

  /** `whenInstalled`: calls back when the flows of all that is known now are in the switch, or never. */
  constructor(ground: Ground, errors: PacketErrors, whenInstalled: (callback: () => Effect[]) => Effect[]) {
    this.#ground = ground;
    this.#errors = errors;
    this.#whenInstalled = whenInstalled;
  }

  // ── who is asked for ─────────────────────────────────────────────────────────────────────────────────────────────

  /** A routed packet without a MAC to go to. */
  resolve(packet: PacketIn, nowMs: number): Effect[] {
    const { scope } = this.#ground;
    const port = scope.byKey('routerPort', packet.routerPortKey);
    const sw = scope.byKey('switch', packet.switchKey);
    if (!port || !sw || port.switch !== sw.id || !this.#limit.take(String(packet.portKey), nowMs)) return [];
    const target = addressIn(port, packet.nextHop);
    if (!target) return [];
    const id = `${sw.id}/${formatIp(target)}`;
    let wanted = this.#wanted.get(id);
    if (!wanted) {
      const { vlan } = packet;
      wanted = { routerPort: port.id, switchId: sw.id, target, vlan, packets: [], askedMs: Number.NEGATIVE_INFINITY };
      this.#wanted.set(id, wanted);
    }
    // The oldest goes: whoever waits longest has given up first.
    if (wanted.packets.length >= WAITING_PER_HOP && wanted.packets.shift()) this.#waiting--;
    if (this.#waiting < WAITING) {
      wanted.packets.push({ packet, untilMs: nowMs + WAIT_MS });
      this.#waiting++;
    }
    return this.#ask(wanted, nowMs);
  }

  #ask(wanted: Wanted, nowMs: number): Effect[] {
    if (nowMs - wanted.askedMs < ASK_INTERVAL_MS) return [];
    const { scope } = this.#ground;
    const port = scope.get('routerPort', wanted.routerPort);
    const sw = scope.get('switch', wanted.switchId);
    const ip = port && addressOf(port, wanted.target);
    if (!port || !sw || !ip) return [];
    wanted.askedMs = nowMs;
    const frame = neighbourQuestion({ mac: parseMac(port.mac)!, ip }, wanted.target, wanted.vlan);
    return [{ kind: 'inject', frame, at: 'flood', registers: { switch: sw.key, vlan: wanted.vlan } }];
  }

  /** Records came or went: `release` runs when their flows are in the switch. */
  scopeChanged(changes: readonly ScopeChange[]): {
    readonly release: (() => Effect[]) | undefined;
    readonly kept: Neighbour[];
  } {
    const kept: Neighbour[] = [];
    const found: Wanted[] = [];
    for (const { op, record } of changes) {
      if (record.kind !== 'neighbour') continue;
      const own = this.#own.get(record.id);
      // The server forgot it while we were silent; the port behind which it is is ours.
      if (own && op === 'delete' && this.#ground.interfaces.get(own.record.port)) kept.push(own.record);
      // It moved: another host has heard it.
      else if (own && (op === 'delete' || (record as Neighbour).host !== this.#ground.host))
        this.#own.delete(record.id);
      const wanted = op === 'put' ? this.#take(record.id) : undefined;
      if (wanted) found.push(wanted);
    }
    return { release: found.length === 0 ? undefined : () => found.flatMap(release), kept };
  }

  /** It is found: its packets wait no longer for an answer, whether they are released or the switch is lost before. */
  #take(id: string): Wanted | undefined {
    const wanted = this.#wanted.get(id);
    if (!wanted) return undefined;
    this.#wanted.delete(id);
    this.#waiting -= wanted.packets.length;
    return wanted;
  }

  #releaseInstalled(id: string): Effect[] {
    const wanted = this.#take(id);
    return wanted ? this.#whenInstalled(() => release(wanted)) : [];
  }

  // ── who answers ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** ARP or ND of a port of ours that tells where an address is. */
  heard(packet: PacketIn, port: LogicalPort, nowMs: number): Effect[] {
    const { scope, host, interfaces } = this.#ground;
    const said = neighbourSaid(packet.frame);
    if (!said || host === undefined || !interfaces.get(port.id) || !this.#limit.take(String(packet.portKey), nowMs))
      return [];
    if (!isHostAddress(said.ip)) return [];
    const address = formatIp(said.ip);
    const id = `${port.switch}/${address}`;
    const known = this.#own.get(id);
    const mac = formatMac(said.mac);
    if (known?.record.mac === mac && known.record.port === port.id) {
      known.heardMs = nowMs;
      return this.#releaseInstalled(id);
    }
    if (!isWanted(scope.all('routerPort'), port.switch, said.ip)) return [];
    if (!known && this.#countOf(port.id) >= PER_PORT) return [];
    const record: Neighbour = {
      kind: 'neighbour',
      id,
      revision: -1,
      switch: port.switch,
      address,
      mac,
      port: port.id,
      host,
    };
    this.#own.set(id, { record, heardMs: nowMs, checkedMs: nowMs });
    return [
      ...this.#ground.report([{ type: 'neighbour', ...reported(record) }]),
      ...this.#ground.overlay(record),
      ...this.#releaseInstalled(id), // the server may be away, and its record not come
    ];
  }

  #countOf(port: string): number {
    let count = 0;
    for (const { record } of this.#own.values()) if (record.port === port) count++;
    return count;
  }

  // ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  tick(nowMs: number): Effect[] {
    const effects: Effect[] = [];
    for (const [id, wanted] of this.#wanted) {
      const late = wanted.packets.filter(({ untilMs }) => untilMs <= nowMs);
      if (late.length > 0) {
        wanted.packets.splice(0, late.length);
        this.#waiting -= late.length;
        effects.push(...late.flatMap(({ packet }) => this.#gaveUp(wanted, packet, nowMs)));
      }
      if (wanted.packets.length === 0) this.#wanted.delete(id);
      else effects.push(...this.#ask(wanted, nowMs));
    }
    for (const known of this.#own.values()) {
      // While the server is away nobody could tell us that it is elsewhere now: but it does not answer here.
      if (nowMs - known.heardMs > FORGET_MS) effects.push(...this.#forget(known.record));
      else if (nowMs - known.checkedMs >= CHECK_INTERVAL_MS) {
        known.checkedMs = nowMs;
        effects.push(...this.#check(known.record));
      }
    }
    return effects;
  }

  #gaveUp(wanted: Wanted, packet: PacketIn, nowMs: number): Effect[] {
    const { scope } = this.#ground;
    const router = scope.get('routerPort', wanted.routerPort)?.router;
    const record = router === undefined ? undefined : scope.get('router', router);
    return record ? this.#errors.noNeighbour(packet, record, nowMs) : [];
  }

  /** Is it still there? Asked at the port behind which it was heard, by unicast. */
  #check(record: Neighbour): Effect[] {
    const { scope, interfaces, host } = this.#ground;
    const port = scope.port(record.port);
    const sw = port && scope.switchOf(port);
    const ofport = interfaces.get(record.port)?.ofport;
    const target = parseIp(record.address);
    const asker = target && askerFor(scope.all('routerPort'), record.switch, target);
    const ip = asker && addressOf(asker, target);
    if (!port || !sw || !ofport || !ip) return [];
    const tag = tagAt({ port, switch: sw, scope, host }, vlanOf(sw, target));
    const frame = neighbourQuestion({ mac: parseMac(asker.mac)!, ip }, target, tag, parseMac(record.mac));
    return [{ kind: 'packetOut', frame, toOfport: ofport }];
  }

  #forget(record: Neighbour): Effect[] {
    this.#own.delete(record.id);
    this.#ground.scope.apply([{ op: 'delete', record }]);
    return [
      ...this.#ground.report([{ type: 'neighbourGone', switch: record.switch, address: record.address }]),
      ...this.#ground.compile([{ op: 'delete', kind: 'neighbour', id: record.id }]),
    ];
  }

  /** The port is not here any more. */
  portGone(port: string): Effect[] {
    return [...this.#own.values()]
      .filter(({ record }) => record.port === port)
      .flatMap(({ record }) => this.#forget(record));
  }

  /** What the disk kept of the last run. */
  adopt(records: readonly ScopeRecord[], host: string | undefined, nowMs: number): void {
    for (const record of records)
      if (record.kind === 'neighbour' && record.host === host)
        this.#own.set(record.id, { record, heardMs: nowMs, checkedMs: nowMs });
  }

  /** Those behind ports that are gone since are forgotten. */
  forgetAbsent(): Effect[] {
    const { interfaces } = this.#ground;
    const absent = [...this.#own.values()].filter(({ record }) => !interfaces.get(record.port));
    return absent.flatMap(({ record }) => this.#forget(record));
  }

  all(): ReportedNeighbour[] {
    return [...this.#own.values()].map(({ record }) => reported(record));
  }
}

export function reported({ switch: onSwitch, address, mac, port }: Neighbour): ReportedNeighbour {
  return { switch: onSwitch, address, mac, port };
}

/** Behind the flows that know the next hop. */
function release({ packets, target }: Wanted): Effect[] {
  return packets.map(({ packet }): Effect => {
    const { portKey: inPort, switchKey, routerPortKey: routerPort, vlan, frame } = packet;
    return {
      kind: 'inject',
      frame,
      at: 'next',
      registers: {
        ...{ inPort, switch: switchKey, routerPort, vlan, routed: 1 },
        ...(vlan === 0 ? {} : { addTag: 1 }),
        ...(packet.fromTunnel ? { fromTunnel: 1 } : {}),
        ...(packet.knownOnly ? { knownOnly: 1 } : {}),
      },
      nextHop: target,
    };
  });
}

/** The next hop of a register: of the version of which the port has an address. */
function addressIn(port: RouterPort, nextHop: bigint): Ip | undefined {
  const candidates: Ip[] = [{ version: 6, value: nextHop as Ipv6 }];
  if (nextHop < 1n << 32n) candidates.unshift({ version: 4, value: Number(nextHop) as Ipv4 });
  return candidates.find((ip) => networksOf(port).some((network) => cidrContains(network, ip)));
}

function askerFor(ports: Iterable<RouterPort>, switchId: string, ip: Ip): RouterPort | undefined {
  for (const port of ports)
    if (port.switch === switchId && networksOf(port).some((network) => cidrContains(network, ip))) return port;
  return undefined;
}

function isWanted(ports: Iterable<RouterPort>, switchId: string, ip: Ip): boolean {
  return askerFor(ports, switchId, ip) !== undefined;
}

function vlanOf(sw: LogicalSwitch, ip: Ip): number {
  if (!sw.vlanAware) return 0;
  return sw.subnets.find(({ cidr }) => cidrContains(parseCidr(cidr)!, ip))?.vlan ?? 0;
}
