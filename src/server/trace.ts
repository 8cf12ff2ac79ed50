import { formatHex, parseHex } from '../base/bytes.ts';
import { DecodeError, WeftError } from '../base/errors.ts';
import type { Encap, Host } from '../model/objects.ts';
import type { ModelView } from '../model/view.ts';
import type { Outcome } from '../simulate/outcome.ts';
import { simulateFrame } from '../simulate/simulate.ts';
import { tellStory } from '../simulate/story.ts';

/** `POST /v1/trace`: what would happen to a frame that the workload of a port sends. */
export interface TraceRequest {
  /** A port's id. */
  readonly port: string;
  /** A host's id: where it enters; the port's active claim when not given. */
  readonly host?: string;
  /** Hexadecimal, without checksum sequence. */
  readonly frame: string;
}

export interface TraceAnswer {
  readonly verdict: string;
  /** Did it arrive anywhere, or was it answered? */
  readonly isGood: boolean;
  readonly lines: readonly string[];
  /** Hosts that it meets, the one where it enters first: enough to ask each of them for its own `ofproto/trace`. */
  readonly hosts: readonly TracedHost[];
  readonly outcome: Outcome;
}

export interface TracedHost {
  readonly id: string;
  readonly name: string;
  /** How it comes in there: absent where it enters from the workload. */
  readonly tunnel?: { readonly encap: Encap; readonly key: number; readonly src: string; readonly dst: string };
}

/** Errors: `invalid` for what is no frame, `not-found` for a port that does not exist or that no host has. */
export function traceFrame(model: ModelView, request: TraceRequest): TraceAnswer {
  const bytes = frameBytes(request.frame);
  const port = model.get('port', request.port);
  if (!port) throw new WeftError('not-found', `there is no port ${request.port}`);
  const entry = request.host ?? model.bindingOf(port.id)?.active;
  if (entry === undefined)
    throw new WeftError(
      'not-found',
      `no host has the interface of port ${port.name}: plug one in with external_ids:iface-id=${port.id}`,
    );
  const outcome = simulateFrame(model, { port: port.id, host: entry, bytes });
  const { verdict, isGood, lines } = tellStory(model, outcome);
  return { verdict, isGood, lines, outcome, hosts: hostsOf(model, outcome, entry, bytes, port.switch) };
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

/** To a group address the switch's key travels, to a known one the port's (docs/design/layer2.md, Between hosts). */
function hostsOf(model: ModelView, outcome: Outcome, entry: string, frame: Uint8Array, switchId: string): TracedHost[] {
  const from = model.get('host', entry);
  const hosts: TracedHost[] = [{ id: entry, name: from?.name ?? entry }];
  const isGroup = (frame[0]! & 1) === 1;
  const there = [
    ...outcome.deliveries.map(({ host, port }) => ({ host, port })),
    ...outcome.drops.flatMap(({ host, to }) => (to === undefined ? [] : [{ host, port: to }])),
  ];
  for (const { host: id, port } of there) {
    const host = model.get('host', id);
    if (!host || hosts.some((known) => known.id === id)) continue;
    const key = isGroup ? model.get('switch', switchId)?.key : model.get('port', port)?.key;
    hosts.push({ id, name: host.name, ...tunnelBetween(model, from, host, key) });
  }
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
