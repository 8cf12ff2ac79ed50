import { type Ip, parseIp } from '../base/addresses.ts';
import { formatHex } from '../base/bytes.ts';
import { WeftError } from '../base/errors.ts';
import type { ModelIndex } from '../model/model-index.ts';
import type { LogicalPort } from '../model/objects.ts';
import { type Found, findObject } from '../model/resolve.ts';
import { type Connection, Connections } from '../simulate/connections.ts';
import { type Passage, simulateConnection, simulateDataConnection, type Wanted } from '../simulate/conversation.ts';
import { tellConversation } from '../simulate/conversation-story.ts';
import { encodeFrame } from '../simulate/encode-frame.ts';
import type { Story } from '../simulate/story.ts';
import { type ShownConnection, showConnection } from './shown-connections.ts';
import { entryHost, hostsOf, type ShownOutcome, shownOutcome, type TracedHost } from './trace.ts';

/** `POST /v1/trace` without a frame: does a conversation work, both ways? */
export interface ConversationRequest {
  /** A port's id: who begins it. */
  readonly port: string;
  /** A host's id: where it enters; the port's active claim when not given. */
  readonly host?: string;
  /** An IP address; or the name of a port, a floating address or a load balancer, of the port's tenant or as `tenant/name`. */
  readonly to: string;
  /** `tcp/443`, `udp/53`, `sctp/5000` or `icmp`. */
  readonly protocol: string;
  /** From another address than its own. */
  readonly source?: string;
  /** The control connection (`tcp/21`) on which a helper hears of this one, a data connection of FTP or TFTP. */
  readonly dataOf?: string;
  /** What conntrack knows: the packet is one in the middle of such a connection, not a first one. */
  readonly connections?: readonly Connection[];
}

export interface ConversationAnswer {
  /** One sentence. */
  readonly verdict: string;
  /** Does it work both ways? */
  readonly isGood: boolean;
  readonly out?: TracedPassage;
  readonly back?: TracedPassage;
  /** What conntrack knows then: can be given to the next question. */
  readonly connections: readonly ShownConnection[];
}

/** One packet on its way. */
export interface TracedPassage {
  readonly verdict: string;
  readonly lines: readonly string[];
  /** Hexadecimal, as its workload sends it. */
  readonly frame: string;
  readonly hosts: readonly TracedHost[];
  readonly outcome: ShownOutcome;
}

/** Errors: `not-found` for a port without a host and for a destination that nothing is called; `invalid` for a protocol that is none. */
export function traceConversation(model: ModelIndex, request: ConversationRequest): ConversationAnswer {
  const host = entryHost(model, request);
  const from = model.get('port', request.port)!;
  const wanted: Wanted = {
    from: from.id,
    host,
    ...protocolOf(request.protocol),
    ...endsOf(model, from, request),
    isRunning: request.connections !== undefined,
  };
  const { dataOf } = request;
  const before = new Connections(request.connections);
  const conversation =
    dataOf === undefined
      ? simulateConnection(model, wanted, before)
      : simulateDataConnection(model, wanted, protocolOf(dataOf));
  const made = [conversation.out, conversation.back].flatMap((passage) => passage?.outcome.commits ?? []);
  const { verdict, isGood, out, back } = tellConversation(model, wanted, conversation);
  return {
    ...{ verdict, isGood },
    ...(out ? { out: traced(model, conversation.out!, out) } : {}),
    ...(back ? { back: traced(model, conversation.back!, back) } : {}),
    connections: [...before.with(made)].map(showConnection),
  };
}

function traced(model: ModelIndex, { port, host, frame, outcome }: Passage, { verdict, lines }: Story): TracedPassage {
  const bytes = encodeFrame(frame);
  const hosts = hostsOf(model, { outcome, entry: host, port, bytes });
  return { verdict, lines, frame: formatHex(bytes), hosts, outcome: shownOutcome(outcome) };
}

function protocolOf(text: string): Pick<Wanted, 'protocol' | 'port'> {
  if (text === 'icmp') return { protocol: 'icmp' };
  const [, protocol, port] = /^(tcp|udp|sctp)\/(\d{1,5})$/.exec(text) ?? [];
  if (protocol === undefined || Number(port) > 65_535)
    throw new WeftError('invalid', `${text}: tcp/443, udp/53, sctp/5000 or icmp is wanted`);
  return { protocol: protocol as 'tcp' | 'udp' | 'sctp', port: Number(port) };
}

/** Both of one IP version, version 4 where there is a choice. */
function endsOf(
  model: ModelIndex,
  from: LogicalPort,
  { to, source }: ConversationRequest,
): Pick<Wanted, 'to' | 'source' | 'meant'> {
  const sources = source === undefined ? addressesOf(from.addresses) : [ipOf(source)];
  const { addresses: targets, meant } = targetOf(model, from, to);
  for (const version of [4, 6] as const) {
    const own = sources.find((ip) => ip.version === version);
    const target = targets.find((ip) => ip.version === version);
    if (own && target) return { ...meant, to: target, source: own };
  }
  if (targets.length === 0) throw new WeftError('not-found', `${to} has no IP address`);
  return { ...meant, to: targets[0]! };
}

interface Target {
  readonly addresses: readonly Ip[];
  readonly meant?: Pick<Wanted, 'meant'>;
}

function targetOf(model: ModelIndex, from: LogicalPort, text: string): Target {
  const ip = parseIp(text);
  if (ip) return { addresses: [ip] };
  const tenant = text.includes('/') ? undefined : from.tenant;
  const port: Found<'port'> = findObject(model, 'port', text, tenant);
  if (port.object) return { addresses: addressesOf(port.object.addresses), meant: { meant: port.object.id } };
  for (const kind of ['floatingAddress', 'loadBalancer'] as const) {
    const { object } = findObject(model, kind, text, tenant);
    if (object) return { addresses: [ipOf(object.address)] };
  }
  const hint = port.hint === undefined ? '' : `; ${port.hint}`;
  throw new WeftError('not-found', `${port.problem}, nor a floating address or a load balancer of that name${hint}`);
}

function addressesOf(texts: readonly string[]): Ip[] {
  return texts.map((text) => ipOf(text));
}

function ipOf(text: string): Ip {
  const ip = parseIp(text);
  if (!ip) throw new WeftError('invalid', `${text}: an IP address is wanted`);
  return ip;
}
