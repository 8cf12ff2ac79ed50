import type { Command } from 'commander';
import type { KindName } from '../../model/kind.ts';
import { textsAt } from '../../model/paths.ts';
import type { WeftEvent } from '../../server/events.ts';
import type { KeptClientStatus } from '../../server/kept-clients.ts';
import type { NextHopStatus } from '../../server/next-hops.ts';
import { UsageError } from '../exit-codes.ts';
import { type CliKind, entryOf, plurals, requireKind } from '../kinds.ts';
import { bold, dim, outputOption, print, printJson, red, yellow } from '../output.ts';
import { inlineText } from '../paths.ts';
import { fetchObject, listObjects } from '../requests.ts';
import { type Session, type ShownObject, titleOf, withSession } from '../session.ts';
import { ageText, clockText } from '../times.ts';

interface DescribeOptions {
  readonly output: string;
}

export function register(program: Command): void {
  program
    .command('describe')
    .description('all about one object: fields, status, what refers to it, events')
    .argument('<kind>', `one of ${plurals()}, or kind/name`)
    .argument('[name]', 'name, tenant/name, id or the beginning of an id')
    .option('-t, --tenant <name>', 'tenant of the object')
    .addOption(outputOption(['text', 'json']))
    .action((kind: string, name: string | undefined, options: DescribeOptions, command: Command) =>
      withSession(command, (session) => describe(kind, name, options, session)),
    );
}

async function describe(
  word: string,
  given: string | undefined,
  options: DescribeOptions,
  session: Session,
): Promise<void> {
  const slash = word.indexOf('/');
  const kind = requireKind(given === undefined && slash > 0 ? word.slice(0, slash) : word);
  const name = given ?? (slash > 0 ? word.slice(slash + 1) : undefined);
  if (name === undefined) throw new UsageError(`which ${kind.kind}? 'weft get ${kind.plural}' lists them`);
  const object = await fetchObject(session, kind, name);
  const [referrers, events] = await Promise.all([referrersOf(object, session), eventsOf(object, session)]);
  if (options.output === 'json') return printJson({ object, referrers: referrers.map(titleOf), events });
  print(bold(titleOf(object)));
  for (const line of describeFields(object)) print(line);
  if (object.status) print(['', bold('status'), ...describeStatus(object)].join('\n'));
  print(['', bold(`referred to by (${referrers.length})`), ...listed(referrers.map(titleOf))].join('\n'));
  print(['', bold(`events (${events.length})`), ...listed(events.map(eventLine))].join('\n'));
}

const ENVELOPE = new Set(['kind', 'name', 'status']);

/** Exported for its test. */
export function describeFields(object: ShownObject): string[] {
  const entries = Object.entries(object).filter(([key]) => !ENVELOPE.has(key));
  const width = Math.max(...entries.map(([key]) => key.length));
  return entries.flatMap(([key, value]) => {
    if (!Array.isArray(value) || value.length < 2 || typeof value[0] !== 'object')
      return [`  ${key.padEnd(width)}  ${inlineText(value)}`];
    return value.map((element, i) => `  ${(i === 0 ? key : '').padEnd(width)}  ${inlineText(element)}`);
  });
}

function describeStatus(object: ShownObject): string[] {
  return Object.entries(object.status ?? {}).flatMap(([key, value]) => {
    if (key === 'problems') return (value as string[]).map((problem) => red(`  problem: ${problem}`));
    if (key === 'claims')
      return (value as { host: string; interface: string; sinceMs: number }[]).map(
        (claim) => `  claim: ${claim.host} by interface ${claim.interface}, for ${ageText(Date.now() - claim.sinceMs)}`,
      );
    if (key === 'nextHops') return (value as NextHopStatus[]).map(nextHopLine);
    if (key === 'kept')
      return (value as KeptClientStatus[]).length === 0
        ? []
        : listed((value as KeptClientStatus[]).map((kept) => keptLine(kept)));
    if (key === 'lastSeenMs') return [`  last seen: ${ageText(Date.now() - (value as number))} ago`];
    if (key === 'health')
      return Object.entries(value as object)
        .filter(([k]) => k !== 'problems')
        .map(([k, v]) => `  ${k}: ${inlineText(v)}`);
    return [`  ${key}: ${inlineText(value)}`];
  });
}

function nextHopLine({ address, probe, state, sinceMs, hosts }: NextHopStatus): string {
  const since = sinceMs === undefined ? '' : ` since ${clockText(sinceMs)}`;
  const words = { answers: 'answers', silent: red('does not answer'), unknown: dim('is not known to answer yet') };
  const by = hosts.length === 0 ? '' : `, asked by ${hosts.join(', ')}`;
  return `  next hop: ${address} (${probe}) ${words[state]}${since}${by}`;
}

/** Exported for its test. */
export function keptLine({ client, member, untilMs }: KeptClientStatus, nowMs = Date.now()): string {
  return `${client} keeps ${member} for ${Math.max(0, Math.round((untilMs - nowMs) / 1000))} s more`;
}

const MOST_LISTED = 15;

function listed(lines: readonly string[]): string[] {
  if (lines.length === 0) return [dim('  none')];
  const shown = lines.slice(0, MOST_LISTED).map((line) => `  ${line}`);
  return lines.length > MOST_LISTED ? [...shown, dim(`  … and ${lines.length - MOST_LISTED} more`)] : shown;
}

function eventLine(event: WeftEvent): string {
  const text = `${clockText(event.atMs)}  ${event.text}`;
  return event.level === 'error' ? red(text) : event.level === 'warning' ? yellow(text) : text;
}

/** Which fields of which kinds can refer to a kind; a test holds this against `src/model`. */
export const REFERRING: Readonly<Record<KindName, readonly { readonly kind: KindName; readonly field: string }[]>> = {
  tenant: [
    { kind: 'switch', field: 'tenant' },
    { kind: 'chain', field: 'tenant' },
    { kind: 'rule', field: 'tenant' },
    { kind: 'port', field: 'tenant' },
    { kind: 'addressSet', field: 'tenant' },
    { kind: 'securityGroup', field: 'tenant' },
    { kind: 'router', field: 'tenant' },
    { kind: 'routerPort', field: 'tenant' },
    { kind: 'floatingAddress', field: 'tenant' },
    { kind: 'loadBalancer', field: 'tenant' },
    { kind: 'mirror', field: 'tenant' },
    { kind: 'bgpPeer', field: 'tenant' },
    { kind: 'l2Gateway', field: 'tenant' },
    { kind: 'vtepBinding', field: 'tenant' },
  ],
  tunnelZone: [{ kind: 'host', field: 'zone' }],
  host: [
    { kind: 'port', field: 'host' },
    { kind: 'l2Gateway', field: 'places[].host' },
    { kind: 'vtep', field: 'places[].host' },
  ],
  switch: [
    { kind: 'port', field: 'switch' },
    { kind: 'routerPort', field: 'switch' },
    { kind: 'loadBalancer', field: 'switch' },
    { kind: 'mirror', field: 'switch' },
  ],
  addressSet: [
    { kind: 'rule', field: 'match.srcSet' },
    { kind: 'rule', field: 'match.dstSet' },
    { kind: 'securityGroup', field: 'ingress[].addressSet' },
    { kind: 'securityGroup', field: 'egress[].addressSet' },
  ],
  securityGroup: [
    { kind: 'port', field: 'groups[]' },
    { kind: 'rule', field: 'match.srcGroup' },
    { kind: 'rule', field: 'match.dstGroup' },
    { kind: 'securityGroup', field: 'ingress[].group' },
    { kind: 'securityGroup', field: 'egress[].group' },
  ],
  router: [
    { kind: 'routerPort', field: 'router' },
    { kind: 'floatingAddress', field: 'router' },
    { kind: 'loadBalancer', field: 'router' },
    { kind: 'bgpPeer', field: 'router' },
  ],
  routerPort: [
    { kind: 'routerPort', field: 'peer' },
    { kind: 'bgpPeer', field: 'routerPort' },
  ],
  floatingAddress: [],
  loadBalancer: [],
  mirror: [],
  bgpPeer: [],
  l2Gateway: [],
  vtep: [{ kind: 'vtepBinding', field: 'vtep' }],
  vtepBinding: [],
  chain: [
    ...(['switch', 'router', 'floatingAddress', 'loadBalancer'] as const).map((kind) => ({ kind, field: 'prefilter' })),
    { kind: 'rule', field: 'chain' },
    { kind: 'rule', field: 'jumpTo' },
    { kind: 'port', field: 'fromChain' },
    { kind: 'port', field: 'toChain' },
    { kind: 'routerPort', field: 'inChain' },
    { kind: 'routerPort', field: 'outChain' },
  ],
  rule: [],
  port: [
    { kind: 'floatingAddress', field: 'port' },
    { kind: 'loadBalancer', field: 'members[].port' },
    { kind: 'mirror', field: 'ports[]' },
    { kind: 'mirror', field: 'to.port' },
    { kind: 'l2Gateway', field: 'port' },
    { kind: 'vtepBinding', field: 'port' },
  ],
};

async function referrersOf(object: ShownObject, session: Session): Promise<ShownObject[]> {
  const ways = REFERRING[object.kind as KindName];
  const kinds = [...new Set(ways.map((way) => way.kind))].map(entryOf);
  const within: Session = {
    ...session,
    tenant: typeof object.tenant === 'string' ? object.tenant : object.kind === 'tenant' ? object.name : undefined,
  };
  const lists = await Promise.all(kinds.map((kind: CliKind) => listObjects(within, kind)));
  return lists
    .flat()
    .filter((other) =>
      ways.some(
        ({ kind, field }) => other.kind === kind && textsAt(other, field).some(({ text }) => text === object.name),
      ),
    );
}

async function eventsOf(object: ShownObject, session: Session): Promise<readonly WeftEvent[]> {
  const { items } = await session.client.get<{ items: readonly WeftEvent[] }>('/v1/events', {
    query: { id: object.id },
  });
  return items.toReversed();
}
