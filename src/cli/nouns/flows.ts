import type { Command } from 'commander';
import type { Endpoint, Holder } from '../../flow-database/flow-store.ts';
import type {
  FlowWatchMessage,
  NatAnswer,
  RefusingRule,
  ShownConnection,
  ShownDrop,
} from '../../server/routes/flows.ts';
import { EXIT, UsageError } from '../exit-codes.ts';
import { dim, formatTable, green, outputOption, print, printJson, red, say, yellow } from '../output.ts';
import { type Session, splitName, withSession } from '../session.ts';
import { ageText, clockText } from '../times.ts';

interface FlowsOptions {
  readonly port?: string;
  readonly address?: string;
  readonly protocol?: string;
  readonly state?: string;
  readonly network?: string;
  readonly router?: string;
  readonly host?: string;
  readonly limit: string;
  readonly follow?: boolean;
  readonly nat?: string;
  readonly at?: string;
  readonly refused?: boolean;
  readonly drops?: boolean;
  readonly output: string;
}

export function register(program: Command): void {
  program
    .command('flows')
    .description('who talks to whom: connections of workloads, now; and who had an outside address at a time')
    .option('--port <port>', 'only those of this port: name, tenant/name or id')
    .option('-t, --tenant <name>', "only those of this tenant's ports")
    .option('--address <address>', 'only those with this address, translated or not')
    .option('--network <cidr>', 'only those with an address in this network')
    .option('--router <name>', 'only those that this router translates: name, tenant/name or id')
    .option('--protocol <name>', 'tcp, udp, icmp, …')
    .option('--state <state>', 'established, syn-sent, time-wait, … (TCP and SCTP)')
    .option('--host <name>', 'only those that this host keeps')
    .option('--limit <number>', 'at most so many', '1000')
    .option('-f, --follow', 'what begins, changes and ends, as agents tell of it, until ^C')
    .option('--nat <address[:port]>', 'who had this address and port ([2001:db8::1]:443 in IPv6)')
    .option('--at <time>', 'with --nat: when, as 2026-11-29T22:00Z (default: now)')
    .option('--refused', 'rules that dropped or rejected packets')
    .option('--drops', 'what hosts dropped at the outside and behind chains, by reason')
    .addOption(outputOption(['table', 'json']))
    .addHelpText(
      'after',
      '\nAgents look every 5 s, and the database keeps translations for 90 days. Exit 3 when nobody is known to have had the address.\n',
    )
    .action((options: FlowsOptions, command: Command) => withSession(command, (session) => flows(options, session)));
}

async function flows(options: FlowsOptions, session: Session): Promise<void> {
  const asked = ['--nat', '--refused', '--drops', '--follow'].filter((name) => options[name.slice(2) as 'nat']);
  if (asked.length > 1) throw new UsageError(`${asked.join(' and ')} are different questions: ask one at a time`);
  if (options.at !== undefined && options.nat === undefined)
    throw new UsageError("--at is about --nat: 'weft flows --nat ADDRESS:PORT --at TIME'");
  if (options.nat !== undefined) return await nat(options.nat, options, session);
  if (options.refused) return await refused(options, session);
  if (options.drops) return await drops(options, session);
  if (options.follow) return await follow(options, session);
  if (!/^[1-9]\d{0,4}$/.test(options.limit)) throw new UsageError(`--limit ${options.limit}: 1 to 99999 is wanted`);
  const { items, isMore } = await session.client.get<{ items: readonly ShownConnection[]; isMore: boolean }>(
    '/v1/flows',
    { query: { ...queryOf(options, session), limit: options.limit } },
  );
  if (options.output === 'json') return printJson(items);
  print(items.length === 0 ? 'no connections' : formatFlows(items, Date.now()));
  if (isMore)
    say(`\nand more: --limit, or filter by --port, --address, --network, --router, --protocol, --state, --host`);
}

function queryOf(options: FlowsOptions, session: Session): Record<string, string> {
  const { router, address, network, protocol, state, host } = options;
  const named = options.port === undefined ? undefined : splitName(options.port, session);
  const tenant = named ? named.tenant : session.tenant;
  const given = { port: named?.name, tenant, router, address, network, protocol, state, host };
  return Object.fromEntries(
    Object.entries(given).flatMap(([key, value]) => (value === undefined ? [] : [[key, value] as const])),
  );
}

/** Columns in which there is nothing are left out; `FROM`, `TO` and who is where are always there. */
const COLUMNS: readonly (readonly [
  title: string,
  cell: (item: ShownConnection, nowMs: number) => string,
  isKept?: true,
])[] = [
  ['PORT', ({ names }) => names.port, true],
  ['PROTOCOL', ({ protocol }) => protocol, true],
  ['STATE', ({ state }) => stateText(state), true],
  ['FROM', ({ from }) => endText(from), true],
  ['SEEN AS', ({ seenAs }) => endText(seenAs)],
  ['TO', ({ to }) => endText(to), true],
  ['ASKED', ({ asked }) => endText(asked)],
  ['PEER', ({ peer }) => peer ?? ''],
  ['ROUTER', ({ names }) => names.router ?? ''],
  ['ALLOWED BY', ({ allowedBy }) => allowedText(allowedBy)],
  ['HOST', ({ names }) => names.host, true],
  ['SINCE', ({ sinceMs }, nowMs) => ageText(nowMs - sinceMs), true],
  ['PACKETS', ({ packets }) => (packets === undefined ? '' : String(packets))],
  ['BYTES', ({ bytes }) => (bytes === undefined ? '' : sizeText(bytes))],
];

export function formatFlows(items: readonly ShownConnection[], nowMs: number): string {
  const sorted = items.toSorted((a, b) =>
    a.names.port === b.names.port ? b.sinceMs - a.sinceMs : a.names.port < b.names.port ? -1 : 1,
  );
  const columns = COLUMNS.map(([title, cell, isKept]) => ({
    title,
    isKept,
    cells: sorted.map((item) => cell(item, nowMs)),
  })).filter(({ isKept, cells }) => isKept || cells.some((text) => text !== ''));
  return formatTable(
    columns.map(({ title }) => title),
    sorted.map((_, row) => columns.map(({ cells }) => cells[row]!)),
  );
}

/** What goes on, what begins, what is over. */
function stateText(state: string | undefined): string {
  if (state === undefined || state === 'established') return state === undefined ? '' : green(state);
  return state.startsWith('syn') ? yellow(state) : dim(state);
}

function allowedText(allowedBy: string | null | undefined): string {
  return allowedBy === null ? red('no rule any more') : (allowedBy ?? '');
}

/** `999 B`, `1.2 kB`, `34 MB`: decimal, two digits. */
export function sizeText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let [value, unit] = [bytes, 0];
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** `10.0.0.5:80`, `[2001:db8::1]:80`; empty for none. */
function endText(end: Endpoint | undefined): string {
  if (end === undefined) return '';
  if (end.port === undefined) return end.address;
  return end.address.includes(':') ? `[${end.address}]:${end.port}` : `${end.address}:${end.port}`;
}

async function follow(options: FlowsOptions, session: Session): Promise<void> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  const lines = session.client.stream<FlowWatchMessage>('GET', '/v1/flows/watch', {
    query: queryOf(options, session),
    idleTimeoutMs: 15_000,
    signal: stop.signal,
  });
  const shown = new Map<string, string>();
  try {
    for await (const message of lines) {
      if (message.type === 'alive') continue;
      if (options.output === 'json') print(JSON.stringify(message));
      else if (message.type === 'put') {
        const { host, key } = message.connection;
        const isNew = !shown.has(`${host} ${key}`);
        const text = lineOf(message.connection);
        shown.set(`${host} ${key}`, text);
        print(`${dim(clockText(Date.now()))} ${isNew ? '+' : '~'} ${text}`);
      } else {
        const name = `${message.host} ${message.key}`;
        print(`${dim(clockText(Date.now()))} - ${shown.get(name) ?? message.key}`);
        shown.delete(name);
      }
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  }
}

function lineOf({ names, protocol, state, from, seenAs, to, asked }: ShownConnection): string {
  const source = endText(from) + (seenAs ? ` (seen as ${endText(seenAs)})` : '');
  const target = endText(to) + (asked ? ` (asked for ${endText(asked)})` : '');
  return `${names.port} ${protocol} ${source} -> ${target}${state === undefined ? '' : ` ${state}`}`;
}

async function nat(text: string, options: FlowsOptions, session: Session): Promise<void> {
  const { at, protocol } = options;
  const query = {
    ...parseEnd(text),
    ...(protocol === undefined ? {} : { protocol }),
    ...(at === undefined ? {} : { at }),
  };
  if (at !== undefined && Number.isNaN(Date.parse(at)))
    throw new UsageError(`--at ${at}: a time looks like 2026-11-29T22:00Z`);
  const answer = await session.client.get<NatAnswer>('/v1/flows/nat', { query });
  if (answer.holders.length === 0) process.exitCode = EXIT.notFound;
  if (options.output === 'json') return printJson(answer);
  if (answer.holders.length === 0)
    print(`nobody is known to have had ${text} at ${new Date(answer.atMs).toISOString()}`);
  else print(formatHolders(answer.holders));
  if (answer.atMs < answer.sinceMs)
    say(`connections are known since ${new Date(answer.sinceMs).toISOString()}; before, leases at most`);
}

/** `203.0.113.1:40123`, `203.0.113.1`, `[2001:db8::1]:443`, `2001:db8::1`. */
export function parseEnd(text: string): { readonly address: string; readonly port?: string } {
  const match =
    /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+))(?::(\d{1,5}))?$/.exec(text) ?? /^()((?=.*:.*:)[0-9a-fA-F:.]+)$/.exec(text);
  const address = match?.[1] || match?.[2];
  if (!address) throw new UsageError(`--nat ${text}: wanted is ADDRESS:PORT, in IPv6 [ADDRESS]:PORT`);
  return { address, ...(match?.[3] === undefined ? {} : { port: match[3] }) };
}

export function formatHolders(holders: readonly Holder[]): string {
  const time = (ms: number | undefined): string => (ms === undefined ? 'now' : new Date(ms).toISOString());
  const rows = holders.map(({ by, names, protocol, workload, other, fromMs, toMs }) => [
    names.host,
    'port' in names ? names.port : dim('(lease)'),
    protocol ?? '',
    endText(workload),
    endText(other),
    names.router ?? '',
    time(fromMs),
    time(toMs),
    by,
  ]);
  return formatTable(['HOST', 'PORT', 'PROTOCOL', 'WORKLOAD', 'OTHER END', 'ROUTER', 'FROM', 'TO', 'KNOWN BY'], rows);
}

async function refused(options: FlowsOptions, session: Session): Promise<void> {
  const query = session.tenant === undefined ? {} : { tenant: session.tenant };
  const { items } = await session.client.get<{ items: readonly RefusingRule[] }>('/v1/flows/refused', { query });
  if (options.output === 'json') return printJson(items);
  if (items.length === 0) return print('no rule has refused a packet');
  const rows = items.map(({ rule, action, packets, bytes }) => [rule, action, String(packets), sizeText(bytes)]);
  print(formatTable(['RULE', 'ACTION', 'PACKETS', 'BYTES'], rows));
}

async function drops(options: FlowsOptions, session: Session): Promise<void> {
  const { items } = await session.client.get<{ items: readonly ShownDrop[] }>('/v1/flows/drops');
  const wanted = options.host === undefined ? items : items.filter(({ host }) => host === options.host);
  if (options.output === 'json') return printJson(wanted);
  if (wanted.length === 0) return print('nothing was dropped since the agents started');
  const rows = wanted.map(({ host, reason, about = '', packets, bytes }) => [
    ...[host, reason, about, String(packets), String(bytes)],
  ]);
  print(formatTable(['HOST', 'REASON', 'BY', 'PACKETS', 'BYTES'], rows));
}
