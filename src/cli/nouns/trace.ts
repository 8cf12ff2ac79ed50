import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { type Ip, type Mac, parseIp, parseMac } from '../../base/addresses.ts';
import { formatHex, parseHex } from '../../base/bytes.ts';
import type { TraceAnswer, TracedHost } from '../../server/trace.ts';
import type { ConversationAnswer } from '../../server/trace-conversation.ts';
import { EXIT, UsageError } from '../exit-codes.ts';
import { entryOf } from '../kinds.ts';
import { bold, dim, green, outputOption, print, printJson, red, say } from '../output.ts';
import { fetchObject, listObjects } from '../requests.ts';
import { hostAgentPath, type Session, type ShownObject, splitName, titleOf, withSession } from '../session.ts';
import {
  buildFrame,
  formatTracedProtocol,
  parseTracedProtocol,
  type TracedProtocol,
  type TraceEnd,
} from '../trace-frame.ts';

interface TraceOptions {
  readonly frame?: string;
  readonly host?: string;
  readonly src?: string;
  readonly srcMac?: string;
  readonly vlan?: string;
  readonly assume?: 'new' | 'reply';
  readonly dataOf?: string;
  readonly connections?: string;
  readonly ovs?: boolean;
  readonly output: string;
}

export function register(program: Command): void {
  program
    .command('trace')
    .description('does a conversation work, and what decides: a sentence first, then the way out and the way back')
    .argument('<from>', 'the port whose workload begins it')
    .argument(
      '[to]',
      "a port, floating address or load balancer by name, an IP address, or a MAC; not needed for 'dhcp' and --frame",
    )
    .argument('[protocol]', 'tcp/PORT, udp/PORT, sctp/PORT, icmp; for one frame alone: arp, nd or dhcp', 'icmp')
    .option('--frame <hex>', 'a whole Ethernet frame instead, alone')
    .option('--host <name>', 'where it enters, where more than one host has the interface')
    .option('--src <address>', 'from another IP address than its own')
    .option('--src-mac <mac>', 'from another MAC than its own: one frame alone')
    .option('--vlan <id>', 'with an 802.1Q tag: one frame alone')
    .addOption(
      new Option('--assume <state>', 'one frame alone: it begins a connection, or answers one').choices([
        'new',
        'reply',
      ]),
    )
    .option(
      '--data-of <protocol>',
      'it is a data connection of FTP or TFTP: of the control connection to tcp/21, udp/69, …',
    )
    .option(
      '--connections <file>',
      'it runs already: what conntrack knows, of an earlier trace with -o json; - for standard input',
    )
    .option('--ovs', 'ask every host on the way what its Open vSwitch really does with it')
    .option('-t, --tenant <name>', 'tenant of ports named without one')
    .addOption(outputOption(['text', 'json']))
    .addHelpText(
      'after',
      '\nExit 7 when the packet or its answer is dropped.\n\nExamples:\n  weft trace web-1 db-1 tcp/5432\n  weft trace acme/web-1 10.0.0.7 udp/53 --ovs\n  weft trace client shop tcp/80\n  weft trace client files tcp/40000 --data-of tcp/21\n  weft trace web-1 dhcp\n  weft trace web-1 db-1 tcp/5432 -o json >call.json   # and after a change of the rules:\n  weft trace web-1 db-1 tcp/5432 --connections call.json\n',
    )
    .action((from: string, to: string | undefined, protocol: string, options: TraceOptions, command: Command) =>
      withSession(command, (session) => trace({ from, to, protocol, options, session })),
    );
}

interface TraceCommand {
  readonly from: string;
  readonly to: string | undefined;
  readonly protocol: string;
  readonly options: TraceOptions;
  readonly session: Session;
}

/** A port of which one end of the packet is made. */
interface PortEnd extends TraceEnd {
  readonly ips: readonly Ip[];
  /** Why it cannot be reached, where that is known before. */
  readonly elsewhere?: string;
}

async function trace(given: TraceCommand): Promise<void> {
  const { options, session } = given;
  const port = await fetchObject(session, entryOf('port'), given.from);
  const host = options.host === undefined ? undefined : (await fetchObject(session, entryOf('host'), options.host)).id;
  const entry = { port: port.id, ...(host === undefined ? {} : { host }) };
  const protocol = isConversation(given) ? parseTracedProtocol(given.protocol) : undefined;
  if (protocol) return traceConversation(given, entry, formatTracedProtocol(protocol));
  return traceOneFrame(given, port, entry);
}

interface TraceEntry {
  readonly port: string;
  readonly host?: string;
}

/** Everything but what only a single frame can be. */
function isConversation({ to, protocol, options }: TraceCommand): boolean {
  if (to === undefined || to === 'dhcp' || parseMac(to.toLowerCase()) !== undefined) return false;
  if (['arp', 'nd', 'dhcp'].includes(protocol)) return false;
  return [options.frame, options.srcMac, options.vlan, options.assume].every((option) => option === undefined);
}

async function traceConversation(
  { to, options, session }: TraceCommand,
  entry: TraceEntry,
  protocol: string,
): Promise<void> {
  const source = options.src === undefined ? {} : { source: options.src };
  const control = options.dataOf === undefined ? undefined : parseTracedProtocol(options.dataOf);
  const dataOf = control === undefined ? {} : { dataOf: formatTracedProtocol(control) };
  const question = { ...entry, to: to!, protocol, ...source, ...dataOf, ...knownConnections(options) };
  const answer = await session.client.post<ConversationAnswer>('/v1/trace', question);
  const { out } = answer;
  const real = options.ovs && out ? await askHosts(session, out.hosts, entry.port, out.frame) : undefined;
  process.exitCode = answer.isGood ? EXIT.ok : EXIT.degraded;
  if (options.output === 'json') return printJson({ ...answer, ...(real === undefined ? {} : { ovs: real }) });
  print(bold(answer.isGood ? green(answer.verdict) : red(answer.verdict)));
  for (const [way, passage] of [
    ['the way out', out],
    ['the way back', answer.back],
  ] as const)
    if (passage) print(`\n${bold(way)}\n${passage.lines.join('\n')}`);
  showReal(real, out !== undefined && !options.ovs);
}

/** What the switches said; or, where they were not asked, how to. */
function showReal(real: Awaited<ReturnType<typeof askHosts>> | undefined, mayAsk: boolean): void {
  for (const { host: name, text } of real ?? []) print(`\n${bold(`Open vSwitch on ${name}`)}\n${text.trimEnd()}`);
  if (mayAsk) say("\n'--ovs' asks the hosts what their switches really do with it");
}

async function traceOneFrame(given: TraceCommand, port: ShownObject, entry: TraceEntry): Promise<void> {
  const { options, session } = given;
  const { frame, note } =
    options.frame === undefined ? await frameOf(given, port) : { frame: parseFrame(options.frame), note: undefined };
  const answer = await session.client.post<TraceAnswer>('/v1/trace', {
    ...{ ...entry, frame: formatHex(frame) },
    ...(options.assume === undefined ? {} : { assume: options.assume }),
    ...knownConnections(options),
  });
  const real = options.ovs ? await askHosts(session, answer.hosts, port.id, formatHex(frame)) : undefined;
  process.exitCode = answer.isGood ? EXIT.ok : EXIT.degraded;
  if (options.output === 'json')
    return printJson({ ...answer, frame: formatHex(frame), ...(real === undefined ? {} : { ovs: real }) });
  print(bold(answer.isGood ? green(answer.verdict) : red(answer.verdict)));
  if (note !== undefined) print(dim(`(${note})`));
  print('');
  print(answer.lines.join('\n'));
  showReal(real, !options.ovs);
}

/** Of an earlier answer, or the list alone. */
function knownConnections({ connections: file }: TraceOptions): { readonly connections?: unknown } {
  if (file === undefined) return {};
  try {
    const read = JSON.parse(readFileSync(file === '-' ? 0 : file, 'utf8')) as unknown;
    if (Array.isArray(read)) return { connections: read };
    const { connections } = (read ?? {}) as { readonly connections?: unknown };
    if (Array.isArray(connections)) return { connections };
  } catch (error) {
    if (!(error instanceof SyntaxError))
      throw new UsageError(`--connections ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
  throw new UsageError(`--connections ${file}: what 'weft trace … -o json' printed is wanted`);
}

function parseFrame(hex: string): Uint8Array {
  const clean = hex.replaceAll(/[\s:]/g, '');
  if (!/^([0-9a-fA-F]{2})+$/.test(clean))
    throw new UsageError('--frame: an even number of hexadecimal digits is wanted');
  return parseHex(clean);
}

/** The frame that the workload would send, and what one should know about how it was chosen. */
async function frameOf(
  { to, protocol: typed, options, session }: TraceCommand,
  port: ShownObject,
): Promise<{ readonly frame: Uint8Array; readonly note: string | undefined }> {
  const vlan = options.vlan === undefined ? undefined : vlanId(options.vlan);
  // `weft trace web-1 dhcp`: what stands second is the protocol.
  if (to === undefined || to === 'dhcp') {
    if (to === undefined && typed !== 'dhcp')
      throw new UsageError("where to? 'weft trace FROM TO [tcp/443]', or 'weft trace FROM dhcp'");
    return { frame: buildFrame({ kind: 'dhcp' }, sourceEnd(port, options), undefined, vlan), note: undefined };
  }
  const protocol = parseTracedProtocol(typed);
  const src = sourceEnd(port, options);
  const dst = await destinationEnd(to, port, session);
  if (dst) {
    const [from, target] = sameVersion(src, dst, protocol);
    return { frame: buildFrame(protocol, from, target, vlan), note: dst.elsewhere };
  }
  // Nobody has the address: what the workload sends first is the question who does.
  const ip = parseIp(to)!;
  const asking: TracedProtocol = { kind: ip.version === 4 ? 'arp' : 'nd' };
  const [from] = sameVersion(src, { mac: 0 as Mac, ip, ips: [ip] }, asking);
  return {
    frame: buildFrame(asking, from, { mac: 0 as Mac, ip }, vlan),
    note: `no port of the switch has ${to}: this is the question who has it, which the workload asks first`,
  };
}

function vlanId(text: string): number {
  const id = Number(text);
  if (Number.isInteger(id) && id >= 0 && id <= 4095) return id;
  throw new UsageError(`--vlan ${text}: 0 to 4095 is wanted`);
}

function endOf(port: ShownObject): PortEnd {
  const ips = ((port.addresses as readonly string[] | undefined) ?? []).flatMap((text) => parseIp(text) ?? []);
  return { mac: parseMac(String(port.mac))!, ips };
}

function sourceEnd(port: ShownObject, options: TraceOptions): PortEnd {
  const own = endOf(port);
  const mac = options.srcMac === undefined ? own.mac : parseMac(options.srcMac.toLowerCase());
  if (mac === undefined) throw new UsageError(`--src-mac ${options.srcMac}: a MAC address is wanted`);
  if (options.src === undefined) return { mac, ips: own.ips };
  const ip = parseIp(options.src);
  if (!ip) throw new UsageError(`--src ${options.src}: an IP address is wanted`);
  return { mac, ips: [ip] };
}

/** Undefined for an address that no port of the switch has. */
async function destinationEnd(text: string, from: ShownObject, session: Session): Promise<PortEnd | undefined> {
  const mac = parseMac(text.toLowerCase());
  const ip = parseIp(text);
  if (mac === undefined && !ip) {
    const inTenant = splitName(text, session).tenant ?? String(from.tenant);
    const to = await fetchObject({ ...session, tenant: inTenant }, entryOf('port'), text);
    const isNeighbour = to.tenant === from.tenant && to.switch === from.switch;
    return isNeighbour
      ? endOf(to)
      : { ...endOf(to), elsewhere: `${titleOf(to)} is on another switch: a single frame asks no router` };
  }
  const peers = await listObjects({ ...session, tenant: String(from.tenant) }, entryOf('port'));
  const onSwitch = peers.filter((peer) => peer.switch === from.switch);
  if (mac !== undefined) {
    const holder = onSwitch.find((peer) => peer.mac === text.toLowerCase());
    return { mac, ips: holder ? endOf(holder).ips : endOf(from).ips };
  }
  const holder = onSwitch.find((peer) => endOf(peer).ips.some((own) => own.value === ip!.value));
  return holder ? { ...endOf(holder), ips: [ip!] } : undefined;
}

/** Both ends with addresses of the same version, IPv4 where there is a choice. */
function sameVersion(src: PortEnd, dst: PortEnd, protocol: TracedProtocol): [TraceEnd, TraceEnd] {
  const versions = protocol.kind === 'arp' ? [4] : protocol.kind === 'nd' ? [6] : [4, 6];
  for (const version of versions) {
    const [a, b] = [src, dst].map((end) => end.ips.find((ip) => ip.version === version));
    if (a && b)
      return [
        { mac: src.mac, ip: a },
        { mac: dst.mac, ip: b },
      ];
  }
  return [{ mac: src.mac }, { mac: dst.mac }];
}

/** What the real switches say, host by host; one that does not answer says so in its place. */
function askHosts(
  session: Session,
  hosts: readonly TracedHost[],
  port: string,
  frame: string,
): Promise<{ readonly host: string; readonly text: string }[]> {
  return Promise.all(
    hosts.map(async ({ id, name, tunnel, frame: there = frame }) => {
      const body = tunnel === undefined ? { port, frame } : { tunnel, frame: there };
      try {
        const { text } = await session.client.post<{ text: string }>(hostAgentPath(id, '/trace'), body);
        return { host: name, text };
      } catch (error) {
        return { host: name, text: `no answer: ${error instanceof Error ? error.message : String(error)}` };
      }
    }),
  );
}
