import { formatIp, formatMac } from '../base/addresses.ts';
import { formatHex, parseHex } from '../base/bytes.ts';
import { DecodeError, WeftError } from '../base/errors.ts';
import type { Encap, Host } from '../model/objects.ts';
import type { ModelView } from '../model/view.ts';
import { type Assumption, type Connection, Connections } from '../simulate/connections.ts';
import type { Frame } from '../simulate/frame.ts';
import type { Outcome } from '../simulate/outcome.ts';
import { simulateFrame } from '../simulate/simulate.ts';
import { tellStory } from '../simulate/story.ts';
import { formatTuple, tupleOf } from '../simulate/tuple.ts';
import { writeFrame } from '../simulate/write-frame.ts';
import { type ShownConnection, showConnection } from './shown-connections.ts';

/** `POST /v1/trace`: what would happen to a frame that the workload of a port sends. */
export interface TraceRequest {
  /** A port's id. */
  readonly port: string;
  /** A host's id: where it enters; the port's active claim when not given. */
  readonly host?: string;
  /** Hexadecimal, without checksum sequence. */
  readonly frame: string;
  /** What it is taken for where no given connection fits: one that begins, also in its middle, or one that answers. */
  readonly assume?: Assumption;
  /** What conntrack knows. */
  readonly connections?: readonly Connection[];
}

export interface TraceAnswer {
  readonly verdict: string;
  /** Did it arrive anywhere, or was it answered? */
  readonly isGood: boolean;
  readonly lines: readonly string[];
  /** Hosts that it meets, the one where it enters first: enough to ask each of them for its own `ofproto/trace`. */
  readonly hosts: readonly TracedHost[];
  readonly outcome: ShownOutcome;
  /** What conntrack knows then: can be given to the next question. */
  readonly connections: readonly ShownConnection[];
}

export interface TracedHost {
  readonly id: string;
  readonly name: string;
  /** How it comes in there: absent where it enters from the workload. */
  readonly tunnel?: { readonly encap: Encap; readonly key: number; readonly src: string; readonly dst: string };
  /** As it comes in there, where that differs from what was sent. */
  readonly frame?: string;
}

/** An outcome as JSON can carry it. */
export type ShownOutcome = Omit<Outcome, 'deliveries' | 'commits' | 'anchored' | 'copies'> & {
  readonly deliveries: readonly (Omit<Outcome['deliveries'][number], 'frame'> & { readonly packet: ShownPacket })[];
  readonly copies: readonly (Omit<Outcome['copies'][number], 'frame'> & { readonly packet: ShownPacket })[];
  /** Connections that the packet made or changed. */
  readonly connections: readonly { readonly zone: string; readonly original: string; readonly reply: string }[];
};

export interface ShownPacket {
  readonly srcMac: string;
  readonly dstMac: string;
  readonly src?: string;
  readonly dst?: string;
  readonly ttl?: number;
  /** `tcp 10.0.0.5:49152 → 10.0.1.5:80`. */
  readonly text?: string;
}

/** Errors: `invalid` for what is no frame, `not-found` for a port that does not exist or that no host has. */
export function traceFrame(model: ModelView, request: TraceRequest): TraceAnswer {
  const bytes = frameBytes(request.frame);
  const entry = entryHost(model, request);
  const connections = new Connections(request.connections, request.assume);
  const outcome = simulateFrame(model, { port: request.port, host: entry, bytes }, connections);
  const { verdict, isGood, lines } = tellStory(model, outcome);
  const hosts = hostsOf(model, { outcome, entry, bytes, port: request.port });
  const known = [...connections.with(outcome.commits)].map(showConnection);
  return { verdict, isGood, lines, hosts, outcome: shownOutcome(outcome), connections: known };
}

/** Error `not-found` for a port that does not exist or that no host has. */
export function entryHost(model: ModelView, request: Pick<TraceRequest, 'port' | 'host'>): string {
  const port = model.get('port', request.port);
  if (!port) throw new WeftError('not-found', `there is no port ${request.port}`);
  const entry = request.host ?? model.bindingOf(port.id)?.active;
  if (entry !== undefined) return entry;
  throw new WeftError(
    'not-found',
    `no host has the interface of port ${port.name}: plug one in with external_ids:iface-id=${port.id}`,
  );
}

export function shownOutcome({ deliveries, commits, copies, anchored: _, ...rest }: Outcome): ShownOutcome {
  return {
    ...rest,
    deliveries: deliveries.map(({ frame, ...delivery }) => ({ ...delivery, packet: shownPacket(frame) })),
    copies: copies.map(({ frame, ...copy }) => ({ ...copy, packet: shownPacket(frame) })),
    connections: commits.map(({ zone, original, reply }) => ({
      ...{ zone, original: formatTuple(original), reply: formatTuple(reply) },
    })),
  };
}

function shownPacket(frame: Frame): ShownPacket {
  const tuple = tupleOf(frame);
  const { ip } = frame;
  return {
    ...{ srcMac: formatMac(frame.src), dstMac: formatMac(frame.dst) },
    ...(ip ? { src: formatIp(ip.src), dst: formatIp(ip.dst), ttl: ip.ttl } : {}),
    ...(tuple ? { text: formatTuple(tuple) } : {}),
  };
}

function frameBytes(text: string): Uint8Array {
  try {
    const bytes = parseHex(text);
    if (bytes.length < 14) throw new WeftError('invalid', `a frame has at least 14 bytes, not ${formatHex(bytes)}`);
    return bytes;
  } catch (error) {
    if (error instanceof DecodeError || error instanceof RangeError)
      throw new WeftError('invalid', `the frame is not hexadecimal: ${error.message}`, { cause: error });
    throw error;
  }
}

interface Traced {
  readonly outcome: Outcome;
  /** The host where it entered, by this port, as these bytes. */
  readonly entry: string;
  readonly port: string;
  readonly bytes: Uint8Array;
}

/**
 * To a group address the switch's key travels, to a known one the port's (docs/design/layer2.md, Between hosts), to an anchor the router
 * port's (docs/design/layer3.md, §7).
 */
export function hostsOf(model: ModelView, { outcome, entry, port: sender, bytes }: Traced): TracedHost[] {
  const hosts: TracedHost[] = [{ id: entry, name: model.get('host', entry)?.name ?? entry }];
  const add = (from: string, to: string, key: number | undefined, frame: Frame | undefined): void => {
    const host = model.get('host', to);
    if (!host || hosts.some((known) => known.id === to)) return;
    const there = frame && formatHex(writeFrame(bytes, frame, frame.tag ?? 0));
    const changed = there === undefined || there === formatHex(bytes) ? {} : { frame: there };
    hosts.push({ id: to, name: host.name, ...tunnelBetween(model, model.get('host', from), host, key), ...changed });
  };
  for (const { from, to, routerPort, frame } of outcome.anchored)
    add(from, to, model.get('routerPort', routerPort)?.key, frame);
  const isGroup = (bytes[0]! & 1) === 1;
  const switchKey = model.get('switch', model.get('port', sender)?.switch ?? '')?.key;
  const keyOf = (port: string): number | undefined => (isGroup ? switchKey : model.get('port', port)?.key);
  for (const { host, port, frame } of outcome.deliveries) add(entry, host, keyOf(port), frame);
  for (const { host, to } of outcome.drops) if (to !== undefined) add(entry, host, keyOf(to), undefined);
  return hosts;
}

function tunnelBetween(
  model: ModelView,
  from: Host | undefined,
  to: Host,
  key: number | undefined,
): Pick<TracedHost, 'tunnel'> {
  if (!from || key === undefined) return {};
  const encap = model.get('tunnelZone', to.zone)?.encap ?? 'geneve';
  return { tunnel: { encap, key, src: from.tunnelAddress, dst: to.tunnelAddress } };
}
