import { hostname } from 'node:os';
import type { Command } from 'commander';
import { type AgentDoctor, askLocalAgent, DEFAULT_CONTROL_SOCKET } from '../control.ts';
import { EXIT } from '../exit-codes.ts';
import { entryOf } from '../kinds.ts';
import { bold, dim, green, outputOption, print, printJson, red, say, yellow } from '../output.ts';
import { type Finding, gatherFacts, judge } from '../preflight.ts';
import { fetchObject } from '../requests.ts';
import { hostAgentPath, type ShownObject, withSession } from '../session.ts';

interface DoctorOptions {
  readonly preflight?: boolean;
  readonly host?: string;
  readonly control: string;
  readonly bridge: string;
  readonly ovsRunDir: string;
  readonly output: string;
}

export function register(program: Command): void {
  program
    .command('doctor')
    .description('is this host fit (--preflight), and are its flows as they should be?')
    .option('--preflight', 'before an agent is installed: Open vSwitch, datapath, underlay MTU, bridges, ports, clock')
    .option('--host <name>', "with --preflight: the host's name; without: ask this host's agent through the server")
    .option('--control <path>', "control socket of this host's agent", DEFAULT_CONTROL_SOCKET)
    .option('--bridge <name>', 'the integration bridge', 'br-int')
    .option('--ovs-run-dir <path>', "Open vSwitch's run directory", '/var/run/openvswitch')
    .addOption(outputOption(['text', 'json']))
    .addHelpText('after', '\nExit 7 when something is wrong.\n')
    .action((options: DoctorOptions, command: Command) =>
      options.preflight ? preflight(options, command) : compare(options, command),
    );
}

const MARK = { ok: green('ok     '), warning: yellow('warning'), error: red('wrong  ') } as const;

async function preflight(options: DoctorOptions, command: Command): Promise<void> {
  const server = await askServer(options.host ?? hostname().split('.')[0]!, command);
  const facts = await gatherFacts(options.bridge, options.ovsRunDir, server.clockOffsetMs);
  const findings = judge(facts, {
    bridge: options.bridge,
    tunnelAddress: text(server.host?.tunnelAddress),
    underlayMtu: typeof server.host?.underlayMtu === 'number' ? server.host.underlayMtu : 1500,
  });
  const wrong = findings.filter(({ level }) => level === 'error').length;
  process.exitCode = wrong > 0 ? EXIT.degraded : EXIT.ok;
  if (options.output === 'json') return printJson(findings);
  for (const finding of findings) printFinding(finding);
  say(
    wrong > 0
      ? `\n${wrong} to mend before an agent runs here`
      : "\nthis host is fit; 'weft agent run' starts the agent",
  );
}

function printFinding({ check, level, text: what, hint }: Finding): void {
  print(`${MARK[level]}  ${check.padEnd(18)} ${what}`);
  if (hint !== undefined) print(`${' '.repeat(28)}${dim(`→ ${hint}`)}`);
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** What the server knows of this host, and how far its clock is off. Nothing where no server answers: preflight is for before. */
async function askServer(
  name: string,
  command: Command,
): Promise<{ readonly host?: ShownObject; readonly clockOffsetMs: number | undefined }> {
  try {
    return await withSession(command, async (session) => {
      const asked = Date.now();
      const { server } = await session.client.get<{ server: { nowMs: number } }>('/v1/status', { timeoutMs: 3_000 });
      const middle = (asked + Date.now()) / 2;
      const host = await fetchObject(session, entryOf('host'), name).catch(() => undefined);
      return { ...(host ? { host } : {}), clockOffsetMs: server.nowMs - middle };
    });
  } catch {
    return { clockOffsetMs: undefined };
  }
}

async function compare(options: DoctorOptions, command: Command): Promise<void> {
  const found =
    options.host === undefined
      ? await askLocalAgent<AgentDoctor>(options.control, '/doctor')
      : await withSession(command, (session) =>
          session.client.get<AgentDoctor>(hostAgentPath(options.host!, '/doctor'), { timeoutMs: 60_000 }),
        );
  const isGood =
    found.missing.length + found.different.length + found.unexpected.length + found.health.problems.length === 0;
  process.exitCode = isGood ? EXIT.ok : EXIT.degraded;
  if (options.output === 'json') return printJson(found);
  print(isGood ? green(`all ${found.expected} flows are as they should be`) : red('the switch is not as it should be'));
  section('missing', found.missing);
  section(
    'different',
    found.different.flatMap(({ expected, installed }) => [`expected  ${expected}`, `installed ${installed}`]),
  );
  section('not expected', found.unexpected);
  section('problems', found.health.problems);
  if (!isGood)
    say("\nnext: 'weft explain COOKIE' tells which objects a flow comes from; restarting the agent compares and mends");
}

const MOST_LINES = 20;

function section(title: string, lines: readonly string[]): void {
  if (lines.length === 0) return;
  print(`\n${bold(`${title} (${lines.length})`)}`);
  for (const line of lines.slice(0, MOST_LINES)) print(`  ${line}`);
  if (lines.length > MOST_LINES) print(dim(`  … and ${lines.length - MOST_LINES} more (-o json has all)`));
}
