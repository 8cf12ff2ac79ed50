import type { Command } from 'commander';
import type { WeftEvent } from '../../server/events.ts';
import type { HostStatus } from '../../server/present.ts';
import { EXIT } from '../exit-codes.ts';
import { bold, dim, formatTable, green, outputOption, print, printJson, red, say, yellow } from '../output.ts';
import { type Session, withSession } from '../session.ts';
import { ageText, clockText } from '../times.ts';

/** What `GET /v1/status` answers. */
export interface StatusAnswer {
  readonly server: { readonly revision: number; readonly uptimeMs: number; readonly memoryBytes: number };
  readonly objects: Readonly<Record<string, number>>;
  readonly hosts: readonly ({ readonly id: string; readonly name: string; readonly drain?: true } & HostStatus)[];
  /** How many ports are in each state. */
  readonly ports: Readonly<Record<string, number>>;
  readonly problems: readonly {
    readonly about: { readonly kind: string; readonly name: string };
    readonly text: string;
  }[];
}

export function register(program: Command): void {
  program
    .command('status')
    .description('is everything all right? verdict first, next step last')
    .addOption(outputOption(['text', 'json']))
    .addHelpText('after', '\nExit 7 when something is not all right.\n')
    .action((options: { readonly output: string }, command: Command) =>
      withSession(command, (session) => status(options.output, session)),
    );
}

async function status(output: string, session: Session): Promise<void> {
  const [answer, events] = await Promise.all([
    session.client.get<StatusAnswer>('/v1/status'),
    session.client.get<{ items: readonly WeftEvent[] }>('/v1/events', { query: { limit: 20 } }),
  ]);
  const verdict = judge(answer);
  process.exitCode = verdict.isGood ? EXIT.ok : EXIT.degraded;
  if (output === 'json') return printJson({ ...answer, verdict: verdict.text, isGood: verdict.isGood });
  print(formatStatus(answer, events.items));
  say(`\nnext: ${verdict.next}`);
}

interface Verdict {
  readonly isGood: boolean;
  readonly text: string;
  readonly next: string;
}

/** Agents come back within so long after a restart of the server. */
const START_MS = 8_000;

/** Ports that nobody plugged in are no fault; everything else that is not as wanted is. */
export function judge({ server, hosts, ports, problems, objects }: StatusAnswer): Verdict {
  const dead = hosts.filter((host) => host.state !== 'alive');
  if (dead.length > 0 && server.uptimeMs < START_MS)
    return bad(
      `the server has just started; waiting for ${dead.map((host) => host.name).join(', ')}`,
      'ask again in a few seconds',
    );
  const lost = (ports['host-down'] ?? 0) + (ports['shut-off'] ?? 0);
  if (dead.length > 0 && dead.length === hosts.length)
    return bad(`no host is alive`, "are the agents running? 'weft doctor' on a host");
  if (dead.length > 0)
    return bad(
      `${dead.map((host) => host.name).join(', ')}: no agent answers${lost > 0 ? `, ${lost} ports concerned` : ''}`,
      `'weft describe host ${dead[0]!.name}', 'weft agent status' there`,
    );
  if (problems.length > 0) {
    const { about } = problems[0]!;
    return bad(
      `${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}`,
      about.kind === 'server' ? `see to the ${about.name}, as below` : `'weft describe ${about.kind} ${about.name}'`,
    );
  }
  if ((ports.pending ?? 0) > 0) return bad(`${ports.pending} ports are not ready yet`, "'weft sync --wait'");
  if (hosts.length === 0)
    return {
      isGood: true,
      text: 'no hosts yet',
      next: "'weft create host NAME --zone ZONE --tunnel-address ADDRESS', or 'weft lab up examples/demo.yaml'",
    };
  if ((objects.port ?? 0) === 0)
    return { isGood: true, text: 'all right, nothing to do yet', next: "'weft apply -f examples/first-network.yaml'" };
  const drained = hosts.filter((host) => host.drain).map(({ name }) => name);
  if (drained.length > 0)
    return {
      isGood: true,
      text: `all right; ${drained.join(', ')} ${drained.length === 1 ? 'is' : 'are'} drained`,
      next: `'weft undrain ${drained[0]}' after maintenance`,
    };
  return { isGood: true, text: 'all right', next: "'weft show' draws the network, 'weft trace A B' follows a packet" };
}

const bad = (text: string, next: string): Verdict => ({ isGood: false, text, next });

const PORT_STATES: Readonly<Record<string, string>> = {
  installed: 'up',
  pending: 'not ready',
  unbound: 'not plugged in',
  'host-down': 'on a host that is down',
  'shut-off': 'shut off',
  'no-port': 'without a port',
};

/** One screen. Exported for its test. */
export function formatStatus(answer: StatusAnswer, events: readonly WeftEvent[], nowMs = Date.now()): string {
  const { server, objects, hosts, ports, problems } = answer;
  const verdict = judge(answer);
  const lines = [bold(verdict.isGood ? green(verdict.text) : red(verdict.text)), ''];
  lines.push(
    `server    revision ${server.revision}, up ${ageText(server.uptimeMs)}, ${Math.round(server.memoryBytes / 1e6)} MB`,
  );
  lines.push(
    `network   ${['tenant', 'switch', 'port', 'router', 'chain', 'rule'].map((kind) => countText(objects[kind] ?? 0, kind)).join(', ')}`,
  );
  const states = Object.entries(ports).map(([state, count]) => `${count} ${PORT_STATES[state] ?? state}`);
  lines.push(`ports     ${states.join(', ') || 'none'}`);
  if (hosts.length > 0) lines.push('', hostTable(hosts, nowMs));
  if (problems.length > 0) lines.push('', bold('problems'), ...firstOf(problems.map(({ text }) => red(`  ${text}`))));
  const notable = events.filter((event) => event.level !== 'info').slice(-5);
  if (notable.length > 0)
    lines.push(
      '',
      bold('lately'),
      ...notable.map((event) => yellow(`  ${clockText(event.atMs, nowMs)}  ${event.text}`)),
    );
  return lines.join('\n');
}

const MOST_HOSTS = 20;
const MOST_PROBLEMS = 8;

function firstOf(lines: readonly string[]): string[] {
  if (lines.length <= MOST_PROBLEMS) return [...lines];
  return [...lines.slice(0, MOST_PROBLEMS), dim(`  … and ${lines.length - MOST_PROBLEMS} more (-o json has all)`)];
}

/** Those that are not as they should be first. */
function hostTable(hosts: StatusAnswer['hosts'], nowMs: number): string {
  const isFine = (host: StatusAnswer['hosts'][number]): boolean => host.state === 'alive' && host.problems.length === 0;
  const sorted = hosts.toSorted((a, b) => Number(isFine(a)) - Number(isFine(b)) || a.name.localeCompare(b.name));
  const rows = sorted
    .slice(0, MOST_HOSTS)
    .map((host) => [
      host.name,
      host.state === 'alive'
        ? `${green('alive')}${host.drain ? `, ${yellow('drained')}` : ''}`
        : red(host.lastSeenMs === undefined ? host.state : `${host.state} for ${ageText(nowMs - host.lastSeenMs)}`),
      host.lag === undefined ? '-' : host.lag === 0 ? 'none' : yellow(`${host.lag} revisions`),
      String(host.health?.localPorts ?? '-'),
      String(host.health?.flows ?? '-'),
      host.health?.conntrack ? `${host.health.conntrack.connections} of ${host.health.conntrack.most}` : '-',
      host.health ? `${host.health.openvswitchVersion} ${host.health.datapathType}` : '-',
    ]);
  const table = formatTable(['HOST', 'STATE', 'LAG', 'PORTS', 'FLOWS', 'CONNECTIONS', 'OPEN VSWITCH'], rows);
  return hosts.length > MOST_HOSTS ? `${table}\n${dim(`… and ${hosts.length - MOST_HOSTS} more hosts`)}` : table;
}

function countText(count: number, kind: string): string {
  const plural = kind.endsWith('ch') ? `${kind}es` : `${kind}s`;
  return `${count} ${count === 1 ? kind : plural}`;
}
