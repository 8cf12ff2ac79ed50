import { flushCompileCache } from 'node:module';
import { hostname } from 'node:os';
import type { Command } from 'commander';
import { createLog, LOG_LEVELS, type LogLevel } from '../../base/log.ts';
import { type AgentStatus, askLocalAgent, DEFAULT_CONTROL_SOCKET, type ExplainedFlow } from '../control.ts';
import { EXIT } from '../exit-codes.ts';
import { formatTable, green, outputOption, print, printJson, red, say, yellow } from '../output.ts';
import { readSecret } from '../secret-file.ts';
import { VERSION } from '../version.ts';

interface RunOptions {
  readonly host: string;
  readonly serverUrl: string;
  readonly tokenFile?: string;
  readonly caFile?: string;
  readonly ovsRunDir: string;
  readonly bridge: string;
  readonly datapath: string;
  readonly stateDir: string;
  readonly control: string;
  readonly namespacePrefix: string;
  readonly logLevel: LogLevel;
}

export function register(program: Command): void {
  const agent = program
    .command('agent')
    .description('run the agent of this host, or ask it (also while the server is away)');
  agent
    .command('run')
    .description("run the agent in the foreground; it leaves Open vSwitch's flows in place when it ends")
    .option('--host <name>', 'this host, as the server knows it', hostname().split('.')[0])
    .requiredOption(
      '--server-url <url>',
      'unix:/path, tcp:host:port or tls:host:port (https:// is tls)',
      process.env.WEFT_SERVER,
    )
    .option('--token-file <path>', "file with the host's token")
    .option('--ca-file <path>', "PEM file with the certificate that the server's is signed by")
    .option('--ovs-run-dir <path>', "Open vSwitch's run directory, with db.sock", '/var/run/openvswitch')
    .option('--bridge <name>', 'the integration bridge', 'br-int')
    .option('--datapath <type>', 'system (the kernel) or netdev (userspace)', 'system')
    .option('--state-dir <path>', 'what it remembers across restarts', '/var/lib/weft/agent')
    .option('--control <path>', 'control socket', DEFAULT_CONTROL_SOCKET)
    .option('--namespace-prefix <text>', 'of the network namespaces of BGP speakers', 'weft-bgp-')
    .option('--log-level <level>', LOG_LEVELS.join(', '), 'info')
    .action((options: RunOptions) => run(options));
  const ask = (name: string, about: string): Command =>
    agent
      .command(name)
      .description(about)
      .option('--control <path>', 'control socket', DEFAULT_CONTROL_SOCKET)
      .addOption(outputOption(['table', 'json']));
  ask('status', 'server, switch, ports and problems of this host').action(showStatus);
  ask('ports', 'the ports whose interfaces are on this host').action(showPorts);
  ask('flows', 'the flows that this host should have')
    .option('--table <number>', 'of one table')
    .option('--match <text>', 'only flows whose text contains this')
    .action(showFlows);
}

async function run(options: RunOptions): Promise<void> {
  const { runAgent } = await import('../../agent/main.ts');
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  await runAgent({
    host: options.host,
    server: options.serverUrl,
    ...(options.tokenFile === undefined ? {} : { token: readSecret(options.tokenFile, 'token') }),
    ...(options.caFile === undefined ? {} : { ca: readSecret(options.caFile, 'CA certificate') }),
    ovsRunDir: options.ovsRunDir,
    bridge: options.bridge,
    datapathType: options.datapath,
    stateDir: options.stateDir,
    controlSocket: options.control,
    namespacePrefix: options.namespacePrefix,
    version: VERSION,
    log: createLog(options.logLevel),
    signal: stop.signal,
    // Not only at the end, which a machine that loses power never sees: what starts from sources is slow, and 30 MB larger.
    onLoaded: flushCompileCache,
  });
  process.exit(EXIT.ok); // sockets that are still closing must not hold it up
}

interface AskOptions {
  readonly control: string;
  readonly output: string;
  readonly table?: string;
  readonly match?: string;
}

async function showStatus({ control, output }: AskOptions): Promise<void> {
  const status = await askLocalAgent<AgentStatus>(control, '/status');
  const { health } = status;
  const waiting = status.ports.filter((port) => port.state !== 'installed');
  const isGood = status.serverConnected && status.synced && health.problems.length === 0 && waiting.length === 0;
  process.exitCode = isGood ? EXIT.ok : EXIT.degraded;
  if (output === 'json') return printJson(status);
  print(isGood ? green('all right') : red('not all right'));
  print(`host      ${status.name ?? '(not known yet)'}`);
  print(
    `server    ${status.serverConnected ? 'connected' : yellow('away: this host goes on with what it knows')}, revision ${status.revision}`,
  );
  print(
    `switch    Open vSwitch ${health.openvswitchVersion} (${health.datapathType}), ${health.flows} flows${status.synced ? '' : yellow(', not all installed yet')}`,
  );
  print(`ports     ${status.ports.length}${waiting.length > 0 ? yellow(`, ${waiting.length} not ready`) : ''}`);
  for (const port of waiting)
    print(`  ${port.name ?? port.id}: ${port.state}${port.problem ? ` (${port.problem})` : ''}`);
  for (const problem of health.problems) print(red(`problem   ${problem}`));
  if (!isGood) say("next: 'weft doctor' compares expected with installed flows");
}

async function showPorts({ control, output }: AskOptions): Promise<void> {
  const { ports } = await askLocalAgent<AgentStatus>(control, '/status');
  if (output === 'json') return printJson(ports);
  if (ports.length === 0) return say('no interface on this host names a port');
  const rows = ports.map((p) => [p.name ?? '-', p.switch ?? '-', p.interface, String(p.ofport ?? '-'), p.state, p.id]);
  print(formatTable(['PORT', 'SWITCH', 'INTERFACE', 'OFPORT', 'STATE', 'ID'], rows));
}

async function showFlows({ control, output, table, match }: AskOptions): Promise<void> {
  const query = table === undefined ? '' : `?table=${encodeURIComponent(table)}`;
  const flows = await askLocalAgent<ExplainedFlow[]>(control, `/flows${query}`);
  const wanted = flows.filter((entry) => match === undefined || entry.flow.includes(match));
  if (output === 'json') return printJson(wanted);
  for (const { flow } of wanted) print(flow);
  say(`${wanted.length} flows; 'weft explain COOKIE' tells where one comes from`);
}
