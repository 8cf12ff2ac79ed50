import { DecodeError } from '../../base/errors.ts';
import type { LogicalPort, Outside } from '../../model/objects.ts';
import { decodeHello } from '../../packet/attachment-hello.ts';
import { decodeEthernet } from '../../packet/ethernet.ts';
import type { Report, ReportedAttachment } from '../../server/protocol.ts';
import type { AttachmentLinkState, AttachmentPlan, Effect, PacketIn, ScopeChange } from '../events.ts';
import type { Ground } from '../ground.ts';
import type { Vteps } from '../vteps/vteps.ts';
import { announcements, helloFrame, probeFrame } from './frames.ts';
import { type Spot, spotsAt } from './spots.ts';

/** So long a place has to be well before it says so. */
const WELL_MS = 2_000;
/**
 * A VTEP sends to the host that it was told, whoever is active, so what forwards is not moved because its database is away. The host that
 * forwards says so last, and is back first: where others do not reach it either, nothing moves.
 */
const VTEP_HOLD_MS = 6_000;
const VTEP_WELL_MS = 6_000;
/** Without Open vSwitch nothing is forwarded for long; one that is only restarted is back by then. */
const SWITCH_AWAY_MS = 3_000;
const TICK_MS = 1_000;
/** A new attachment hears for so long who else is outside, before it passes frames. */
const LISTEN_MS = 2_500;
/** So long no hello may have come back before an attachment that was cut passes frames again. */
const CUT_MS = 10_000;
const ANNOUNCED = 3;

interface Attachment {
  readonly plan: AttachmentPlan;
  gateway: Outside;
  readonly place: number;
  /** Undefined: not heard of yet. */
  link: AttachmentLinkState | undefined;
  received: number | undefined;
  heardMs: number;
  wellSinceMs: number | undefined;
  /** Since when a VTEP is not as it should be. */
  illSinceMs: number | undefined;
  /** No frame passes, because of a loop or (without `why`) while it listens. */
  cut: { readonly untilMs: number; readonly why?: string } | undefined;
  /** When a gateway of the switch that has to make way was last heard. */
  rivalMs: number;
  told: ReportedAttachment | undefined;
  isActive: boolean | undefined;
  announce: number;
}

/** The attachments of L2 gateways and VTEP bindings on this host: whether their outside is well, and what is said there (docs/design/l2-gateways.md). */
export class Attachments {
  readonly #ground: Ground;
  readonly #vteps: Vteps;
  readonly #attachments = new Map<string, Attachment>();
  #planned: string | undefined;
  #tickedMs: number | undefined;
  #switchLostMs: number | undefined;

  constructor(ground: Ground, vteps: Vteps) {
    this.#ground = ground;
    this.#vteps = vteps;
  }

  scopeChanged(changes: readonly ScopeChange[], nowMs: number): Effect[] {
    const { host } = this.#ground;
    if (host === undefined) return [];
    const isOther = changes.some(
      ({ record: { kind, id } }) =>
        kind === 'l2Gateway' || kind === 'vtep' || kind === 'vtepBinding' || (kind === 'host' && id === host),
    );
    const planned = isOther || this.#planned === undefined ? this.#plan(host, nowMs) : [];
    const ports = new Set(changes.flatMap(({ record }) => (record.kind === 'binding' ? [record.id] : [])));
    for (const attachment of this.#attachments.values())
      if (isOther || ports.has(attachment.plan.port)) this.#follow(attachment, host);
    return [...planned, ...this.#announce()];
  }

  #plan(host: string, nowMs: number): Effect[] {
    const wanted = new Map<string, Attachment>();
    const fresh: Attachment[] = [];
    for (const spot of spotsAt(this.#ground.scope, host)) {
      const { outside, place, plan } = spot;
      const { id, port } = outside;
      const known = this.#attachments.get(id);
      const isSame = known?.place === place && JSON.stringify(known.plan) === JSON.stringify(plan);
      // A link that is as it was is not told again.
      const anew = (): Attachment => ({ ...attachmentOf(spot, nowMs), link: known?.link });
      wanted.set(id, isSame ? Object.assign(known, { gateway: outside }) : anew());
      // What an agent before this one attached goes on.
      const isAttached = this.#ground.scope.binding(port)?.claims.some((claim) => claim.host === host) ?? false;
      if (!isSame && (known || !isAttached)) fresh.push(wanted.get(id)!);
    }
    const released: Effect[] = [];
    for (const [id, former] of this.#attachments)
      if (former.cut && wanted.get(id) !== former) released.push(...this.#release(former));
    this.#attachments.clear();
    for (const [id, attachment] of wanted) this.#attachments.set(id, attachment);
    for (const attachment of fresh) released.push(...this.#cut(attachment, { untilMs: nowMs + LISTEN_MS }));
    return [...released, ...this.#attach()];
  }

  #attach(): Effect[] {
    const plans = [...this.#attachments.values()].map(({ plan, gateway }) => {
      const remote = gateway.kind === 'vtepBinding' ? this.#vteps.remoteOf(gateway.vtep) : undefined;
      return remote === undefined ? plan : { ...plan, remote };
    });
    const text = JSON.stringify(plans);
    if (text === this.#planned) return [];
    this.#planned = text;
    return [{ kind: 'attach', plans }, ...this.#tell(true)];
  }

  #follow(attachment: Attachment, host: string): void {
    const isActive = this.#ground.scope.binding(attachment.plan.port)?.active === host;
    // A VTEP is told by its database.
    if (isActive && attachment.isActive === false && attachment.gateway.kind === 'l2Gateway')
      attachment.announce = ANNOUNCED;
    attachment.isActive = isActive;
  }

  /** Is the port the outside of a gateway that is attached here? */
  isOutside(port: string): boolean {
    for (const { plan } of this.#attachments.values()) if (plan.port === port) return true;
    return false;
  }

  /** What OVSDB says of their interfaces, all of them. */
  linksTold(links: ReadonlyMap<string, AttachmentLinkState>, nowMs: number): Effect[] {
    for (const [id, link] of links) {
      const attachment = this.#attachments.get(id);
      if (!attachment) continue;
      // Before, nobody could be heard.
      if (!attachment.link) attachment.heardMs = nowMs;
      // What was heard before the link went says nothing of what is behind it now.
      if (attachment.link?.isUp && !link.isUp) attachment.heardMs = Number.NEGATIVE_INFINITY;
      attachment.link = link;
    }
    return this.#judge(nowMs);
  }

  /** Nobody could be heard meanwhile. */
  switchConnected(nowMs: number): void {
    const awayMs = this.#switchLostMs === undefined ? 0 : nowMs - this.#switchLostMs;
    this.#switchLostMs = undefined;
    for (const attachment of this.#attachments.values())
      attachment.heardMs = Math.min(nowMs, attachment.heardMs + awayMs);
  }

  switchLost(nowMs: number): void {
    this.#switchLostMs ??= nowMs;
  }

  /** What is known of VTEPs is other than it was. */
  vtepsTold(nowMs: number): Effect[] {
    return [...this.#attach(), ...this.#judge(nowMs)];
  }

  /** Frames that came from outside so far, by OpenFlow port. */
  counted(received: ReadonlyMap<number, number>, nowMs: number): Effect[] {
    for (const attachment of this.#attachments.values()) {
      const ofport = this.#ofport(attachment);
      const count = ofport === undefined ? undefined : received.get(ofport);
      if (count === undefined) continue;
      if (attachment.received !== undefined && count !== attachment.received) attachment.heardMs = nowMs;
      attachment.received = count;
    }
    return this.#judge(nowMs);
  }

  /** A hello came in by a port: of the pair as it should be, or of a loop. */
  heard({ frame }: PacketIn, port: LogicalPort, nowMs: number): Effect[] {
    const attachment = [...this.#attachments.values()].find(({ plan }) => plan.port === port.id);
    const hello = attachment && readHello(frame);
    if (!attachment || !hello) return [];
    attachment.heardMs = nowMs;
    const isOwn = hello.port === port.key;
    const sinceMs = this.#sinceMs(port.id);
    const isYounger = hello.sinceMs > sinceMs || (hello.sinceMs === sinceMs && hello.port > port.key);
    if (isOwn ? hello.place !== attachment.place : isYounger) {
      // While both passed frames, switches outside may have learned our MACs behind the other.
      if (!isOwn && attachment.isActive && nowMs - attachment.rivalMs > CUT_MS)
        attachment.announce = attachment.gateway.kind === 'l2Gateway' ? ANNOUNCED : 0;
      if (!isOwn) attachment.rivalMs = nowMs;
      return [];
    }
    const other = isOwn ? undefined : this.#ground.scope.portByKey(hello.port);
    const why = isOwn
      ? 'the outside sends back what it is sent'
      : `the outside is that of port ${other?.name ?? hello.port} of the same switch too`;
    const isKnown = attachment.cut?.why !== undefined;
    const cut = this.#cut(attachment, { untilMs: nowMs + CUT_MS, why });
    if (isKnown) return [];
    const { id, name, kind } = attachment.gateway;
    const text = `${kind === 'l2Gateway' ? 'L2 gateway' : 'VTEP binding'} ${name} is cut off here: ${why}`;
    return [
      ...cut,
      ...this.#judge(nowMs),
      ...this.#ground.report([{ type: 'event', atMs: nowMs, level: 'warning', about: { kind, id }, text }]),
      { kind: 'log', level: 'warn', message: text, fields: { gateway: id } },
    ];
  }

  tick(nowMs: number): Effect[] {
    const effects: Effect[] = [];
    const ofports: number[] = [];
    // What came in while this agent was held up is heard after this: that time is no silence.
    const lateMs = Math.max(0, nowMs - (this.#tickedMs ?? nowMs) - TICK_MS);
    this.#tickedMs = nowMs;
    for (const attachment of this.#attachments.values()) {
      attachment.heardMs = Math.min(nowMs, attachment.heardMs + lateMs);
      if (attachment.cut) attachment.cut = { ...attachment.cut, untilMs: attachment.cut.untilMs + lateMs };
      if (attachment.cut && attachment.cut.untilMs <= nowMs) effects.push(...this.#release(attachment));
      const ofport = this.#ofport(attachment);
      if (ofport === undefined) continue;
      ofports.push(ofport);
      effects.push(...this.#say(attachment, ofport));
    }
    if (ofports.length > 0) effects.push({ kind: 'readReceived', ofports });
    return [...effects, ...this.#announce(), ...this.#judge(nowMs)];
  }

  #sinceMs(port: string): number {
    const claims = this.#ground.scope.binding(port)?.claims ?? [];
    return Math.min(Number.MAX_SAFE_INTEGER, ...claims.map((claim) => claim.sinceMs));
  }

  #cut(attachment: Attachment, cut: NonNullable<Attachment['cut']>): Effect[] {
    const isNew = attachment.cut === undefined;
    attachment.cut = cut;
    return isNew ? this.#ground.compile([{ op: 'put', record: { kind: 'cut', id: attachment.plan.port } }]) : [];
  }

  #release(attachment: Attachment): Effect[] {
    attachment.cut = undefined;
    return this.#ground.compile([{ op: 'delete', kind: 'cut', id: attachment.plan.port }]);
  }

  #say({ plan, place, gateway, isActive }: Attachment, toOfport: number): Effect[] {
    // A VTEP takes packets of the one host that its database names.
    if (gateway.kind === 'vtepBinding' && !isActive) return [];
    const { scope } = this.#ground;
    const port = scope.port(plan.port);
    const sw = port && scope.switchOf(port);
    if (!sw) return [];
    const frames = [helloFrame(sw, port, place, this.#sinceMs(port.id))];
    if (gateway.kind === 'l2Gateway' && gateway.probe !== undefined)
      frames.push(probeFrame(port, place, gateway.probe));
    return frames.map((frame) => ({ kind: 'packetOut', frame, toOfport }));
  }

  #announce(): Effect[] {
    return [...this.#attachments.values()].flatMap((attachment) => {
      const toOfport = this.#ofport(attachment);
      const port = this.#ground.scope.port(attachment.plan.port);
      const { gateway } = attachment;
      if (attachment.announce === 0 || toOfport === undefined || !port || attachment.cut) return [];
      if (gateway.kind !== 'l2Gateway') return [];
      attachment.announce--;
      const frames = announcements(this.#ground.scope, gateway, port);
      return frames.map((frame): Effect => ({ kind: 'packetOut', frame, toOfport }));
    });
  }

  #ofport({ plan }: Attachment): number | undefined {
    return this.#ground.interfaces.get(plan.port)?.ofport;
  }

  #judge(nowMs: number): Effect[] {
    let isNews = false;
    const awayMs = this.#switchLostMs === undefined ? undefined : nowMs - this.#switchLostMs;
    for (const attachment of this.#attachments.values()) {
      const { gateway } = attachment;
      const now = stateOf(
        attachment,
        nowMs,
        gateway.kind === 'vtepBinding' ? this.#vteps.linkOf(gateway) : { isUp: true },
        awayMs,
      );
      if (now === undefined || (now.state === attachment.told?.state && now.problem === attachment.told.problem))
        continue;
      attachment.told = now;
      isNews = true;
    }
    return isNews ? this.#tell(false) : [];
  }

  #tell(isWhole: boolean): Effect[] {
    const reports = this.all();
    return isWhole || reports.some(({ attachments }) => attachments.length > 0) ? this.#ground.report(reports) : [];
  }

  /**
   * For a new connection to the server. An agent that has just started says nothing until it knows of what forwards here: traffic would be moved
   * away from what is not named, to a host that knows none of the connections that began without an agent.
   */
  all(): readonly Extract<Report, { type: 'attachments' }>[] {
    const { host, scope } = this.#ground;
    const attachments: ReportedAttachment[] = [];
    for (const { told, cut, plan } of this.#attachments.values()) {
      if (told) attachments.push(told);
      else if (!cut && scope.binding(plan.port)?.active === host) return [];
    }
    return [{ type: 'attachments', attachments }];
  }
}

function attachmentOf({ outside, plan, place }: Spot, nowMs: number): Attachment {
  return {
    ...{ plan, gateway: outside, place, link: undefined, received: undefined, heardMs: nowMs },
    ...{ wellSinceMs: undefined, illSinceMs: undefined },
    ...{ cut: undefined, told: undefined, isActive: undefined, announce: 0 },
    rivalMs: Number.NEGATIVE_INFINITY,
  };
}

/** `behind`: what the interface leads to; `awayMs`: how long Open vSwitch has been away, if it is. Undefined: nothing to say yet. */
function stateOf(
  attachment: Attachment,
  nowMs: number,
  behind: AttachmentLinkState | undefined,
  awayMs: number | undefined,
): ReportedAttachment | undefined {
  const { gateway, link, cut, told } = attachment;
  const ill = (state: ReportedAttachment['state'], problem: string): ReportedAttachment => {
    attachment.wellSinceMs = undefined;
    return { gateway: gateway.id, state, problem };
  };
  if (cut) return cut.why === undefined ? told : ill('loop', `cut off: ${cut.why}`);
  if (awayMs !== undefined) return awayMs > SWITCH_AWAY_MS ? ill('down', 'Open vSwitch does not answer') : told;
  if (behind?.isUp === false) {
    attachment.illSinceMs ??= nowMs;
    const holds = attachment.isActive && told?.state === 'up' && nowMs - attachment.illSinceMs < VTEP_HOLD_MS;
    return holds ? told : ill('down', behind.problem);
  }
  if (link === undefined || behind === undefined) return undefined;
  if (!link.isUp) return ill('down', link.problem);
  // A VTEP with nobody behind it says nothing.
  if (gateway.kind === 'l2Gateway' && nowMs - attachment.heardMs > gateway.silenceS * 1000)
    return ill('silent', `no frame from outside for ${gateway.silenceS} s`);
  attachment.illSinceMs = undefined;
  // What forwards at an agent's start goes on.
  if (attachment.wellSinceMs === undefined)
    attachment.wellSinceMs = told === undefined && attachment.isActive ? Number.NEGATIVE_INFINITY : nowMs;
  const problem = behind.problem === undefined ? {} : { problem: behind.problem };
  // A VTEP that was never seen unwell has not been lost by the host that forwards.
  const isBack = gateway.kind === 'vtepBinding' && told !== undefined;
  const wellMs = gateway.kind === 'vtepBinding' && attachment.isActive ? 0 : isBack ? VTEP_WELL_MS : WELL_MS;
  return nowMs - attachment.wellSinceMs < wellMs ? told : { gateway: gateway.id, state: 'up', ...problem };
}

function readHello(bytes: Uint8Array): ReturnType<typeof decodeHello> | undefined {
  try {
    const { vlans } = decodeEthernet(bytes);
    return decodeHello(bytes.subarray(14 + 4 * vlans.length));
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return undefined;
  }
}
