import { type ExecFileException, execFile, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { parseIp } from '../base/addresses.ts';
import { formatHex, parseHex } from '../base/bytes.ts';
import { DecodeError, WeftError } from '../base/errors.ts';
import { createServer } from '../base/http.ts';
import { shown } from '../base/shown.ts';
import type { Compiler } from '../compile/compiler.ts';
import type { Encap } from '../model/objects.ts';
import { formatFlow } from '../openflow/text/flow.ts';
import type { ConnectionEntry, ImportAnswer } from '../server/protocol.ts';
import type { PortAsk } from './connections/of-port.ts';
import type { AgentCore } from './core.ts';
import { flowBody, flowKey } from './flow-key.ts';
import { realTrace } from './real-trace.ts';
import type { SwitchLink } from './switch-link.ts';

/**
 * What tools on the host (and, through the server, elsewhere) ask the agent: JSON over HTTP on a unix socket, also while
 * the server is away. Nothing here changes anything.
 */
export interface ControlOptions {
  readonly core: AgentCore;
  readonly compiler: Compiler;
  readonly link: SwitchLink;
  readonly bridge: string;
  /** Control socket of ovs-vswitchd, looked up anew each time: its name may hold a process id. */
  readonly vswitchdControl: () => string;
  /** What connection tracking has of a port's connections, now. Errors: `WeftError`; `busy`: it may be asked again. */
  readonly connectionsOf: (port: string, ask: PortAsk) => Promise<readonly ConnectionEntry[]>;
  /** Of connections of L2 gateways: those that other places are told of, and those that are held for others. */
  readonly copies: () => { readonly told: number; readonly held: number };
}

export interface ControlAnswer {
  readonly status: number;
  readonly type: string;
  /** Either all of it, or a stream of bytes that ends or is abandoned. */
  readonly body: string | AsyncIterable<Uint8Array>;
}

type Handler = (
  options: ControlOptions,
  query: URLSearchParams,
  body: string,
  signal: AbortSignal,
) => ControlAnswer | Promise<ControlAnswer>;

const HANDLERS: Readonly<Record<string, Handler>> = {
  'GET /status': status,
  'GET /flows': flows,
  'GET /explain': explain,
  'GET /doctor': doctor,
  'GET /graph': ({ compiler }) => ({ status: 200, type: 'text/vnd.graphviz', body: compiler.toDot() }),
  'POST /trace': trace,
  'GET /capture': capture,
  'GET /connections': connections,
};

/** Answers one request; whoever carries it (a socket, the server's relay). Errors become answers. */
export async function answerControl(
  options: ControlOptions,
  method: string,
  path: string,
  body: string,
  signal: AbortSignal,
): Promise<ControlAnswer> {
  const url = URL.parse(`http://agent${path}`);
  if (!url) return problem(400, 'invalid', `${path}: no path`);
  const handler = HANDLERS[`${method} ${url.pathname}`];
  if (!handler)
    return problem(404, 'not-found', `${method} ${url.pathname}: the agent knows ${Object.keys(HANDLERS).join(', ')}`);
  try {
    return await handler(options, url.searchParams, body, signal);
  } catch (error) {
    if (error instanceof WeftError)
      return problem(
        error.code === 'not-found' ? 404 : error.code === 'invalid' ? 400 : 503,
        error.code,
        error.message,
      );
    if (error instanceof DecodeError || error instanceof SyntaxError) return problem(400, 'invalid', error.message);
    // Whoever asks must never be able to stop the agent.
    return problem(500, 'refused', `the agent failed at this request: ${String(error)}`);
  }
}

export function startControl(path: string, options: ControlOptions): Promise<Server> {
  const server = createServer((request, response) => void serve(options, request, response));
  rmSync(path, { force: true });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => resolve(server));
  });
}

async function serve(options: ControlOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of request) {
      chunks.push(chunk as Buffer);
      if (chunks.reduce((sum, c) => sum + c.length, 0) > 1_000_000) return void response.writeHead(413).end();
    }
    const answer = await answerControl(
      options,
      request.method ?? 'GET',
      request.url ?? '/',
      Buffer.concat(chunks).toString('utf8'),
      gone.signal,
    );
    response.writeHead(answer.status, { 'content-type': answer.type });
    if (typeof answer.body === 'string') return void response.end(answer.body);
    for await (const chunk of answer.body)
      if (!response.write(chunk))
        await new Promise((resolve) => response.once('drain', resolve).once('close', resolve));
    response.end();
  } catch {
    response.destroy();
  }
}

function json(value: unknown): ControlAnswer {
  return { status: 200, type: 'application/json', body: JSON.stringify(value) };
}

function problem(status: number, code: string, detail: string): ControlAnswer {
  return { status, type: 'application/problem+json', body: JSON.stringify({ status, code, detail, title: code }) };
}

function status({ core, copies }: ControlOptions): ControlAnswer {
  const ports = [...core.interfaces.bound()].map(([id, entry]) => ({
    id,
    name: core.scope.port(id)?.name,
    switch: core.scope.get('switch', core.scope.port(id)?.switch ?? '')?.name,
    interface: entry.name,
    ofport: entry.ofport,
    ...(core.portStates.get(id) ?? { state: 'pending' }),
  }));
  return json({
    host: core.host,
    name: core.host === undefined ? undefined : core.scope.host(core.host)?.name,
    serverConnected: core.serverConnected,
    revision: core.revision,
    synced: core.installation.synced && core.installation.idle,
    health: core.health(),
    copies: copies(),
    ports,
  });
}

function flows({ compiler }: ControlOptions, query: URLSearchParams): ControlAnswer {
  const table = query.get('table');
  const wanted = [...compiler.flows()].filter((flow) => table === null || flow.table === Number(table));
  return json(
    wanted.map((flow) => ({
      flow: formatFlow(flow),
      cookie: `0x${flow.cookie.toString(16)}`,
      ...compiler.explain(flow.cookie),
    })),
  );
}

function explain({ compiler }: ControlOptions, query: URLSearchParams): ControlAnswer {
  const text = query.get('cookie') ?? '';
  if (!/^(0x[0-9a-fA-F]{1,16}|\d{1,20})$/.test(text))
    throw new WeftError('invalid', `cookie=${text}: a number is wanted, as 0x1f or 31`);
  return json(compiler.explain(BigInt(text)));
}

/** Expected against installed: what `weft doctor` shows. */
async function doctor({ core, compiler, link }: ControlOptions): Promise<ControlAnswer> {
  const installed = new Map((await link.readFlows()).map((entry) => [entry.key, entry]));
  const missing: string[] = [];
  const different: { expected: string; installed: string }[] = [];
  let expected = 0;
  for (const flow of compiler.flows()) {
    expected++;
    const key = flowKey(flow);
    const entry = installed.get(key);
    installed.delete(key);
    if (!entry) missing.push(formatFlow(flow));
    else if (entry.body !== flowBody(flow))
      different.push({ expected: formatFlow(flow), installed: formatFlow(entry.flow) });
  }
  const unexpected = [...installed.values()].map((entry) => formatFlow(entry.flow));
  return json({ expected, missing, different, unexpected, health: core.health() });
}

/** `ofproto/trace` of a frame: from a port's workload, or as it comes out of a tunnel. */
async function trace(
  { core, bridge, vswitchdControl }: ControlOptions,
  _query: URLSearchParams,
  body: string,
): Promise<ControlAnswer> {
  const request = JSON.parse(body) as {
    port?: string;
    tunnel?: { encap: Encap; key: number; src: string; dst: string };
    frame: string;
  } | null;
  if (typeof request?.frame !== 'string') throw new WeftError('invalid', 'frame: hex digits are wanted');
  const frame = formatHex(parseHex(request.frame));
  let flow: string;
  if (request.tunnel) {
    const { encap, key, src, dst } = request.tunnel;
    const ofport = core.tunnelOfport(encap);
    if (ofport === undefined) throw new WeftError('not-found', `this host has no ${encap} tunnel port`);
    if (!parseIp(String(src)) || !parseIp(String(dst)))
      throw new WeftError('invalid', 'tunnel: src and dst are addresses');
    const [srcField, dstField] = src.includes(':') ? ['tun_ipv6_src', 'tun_ipv6_dst'] : ['tun_src', 'tun_dst'];
    flow = `in_port=${ofport},tun_id=${Number(key)},${srcField}=${src},${dstField}=${dst}`;
  } else {
    const entry = core.interfaces.get(request.port ?? '');
    if (!entry?.ofport) throw new WeftError('not-found', `no interface of port ${request.port} on this host`);
    flow = `in_port=${entry.ofport}`;
  }
  return json({ text: await realTrace(vswitchdControl(), bridge, flow, frame) });
}

/**
 * For the host that the port's workload moves to (docs/design/flow-database.md, §5). `ahead`: it has not moved yet. `withinMs`: who asks waits no longer, and
 * the server has no word for that it has given up.
 */
async function connections(
  { connectionsOf }: ControlOptions,
  query: URLSearchParams,
  _body: string,
  gone: AbortSignal,
): Promise<ControlAnswer> {
  const withinMs = Number(query.get('withinMs'));
  const isBounded = withinMs >= 1 && withinMs <= LONGEST_ASK_MS;
  const signal = isBounded ? AbortSignal.any([gone, AbortSignal.timeout(withinMs)]) : gone;
  const urgency = query.has('ahead') ? 'ahead' : 'now';
  const answer: ImportAnswer = { entries: await connectionsOf(query.get('port') ?? '', { urgency, signal }) };
  return json(answer);
}

const LONGEST_ASK_MS = 60_000;

/** A pcap stream of what passes the port's interface. Error `invalid` with what tcpdump says of the filter. */
async function capture(
  { core }: ControlOptions,
  query: URLSearchParams,
  _body: string,
  signal: AbortSignal,
): Promise<ControlAnswer> {
  const port = query.get('port') ?? '';
  const entry = core.interfaces.get(port);
  if (!entry) throw new WeftError('not-found', `no interface of port ${port} on this host`);
  const count = query.get('count');
  const filter = query.get('filter');
  if (filter) await checkFilter(filter, signal);
  const args = [
    '-i',
    entry.name,
    '-U',
    '-n',
    '-s',
    '0',
    '-w',
    '-',
    ...(count === null ? [] : ['-c', String(Number(count))]),
    ...(filter ? ['--', filter] : []),
  ];
  const child = spawn('tcpdump', args, { stdio: ['ignore', 'pipe', 'ignore'], signal });
  child.on('error', () => {}); // aborted, or no tcpdump: the stream ends
  return { status: 200, type: 'application/vnd.tcpdump.pcap', body: child.stdout as AsyncIterable<Uint8Array> };
}

async function checkFilter(filter: string, signal: AbortSignal): Promise<void> {
  // Compiled and not run.
  const { error, stderr } = await new Promise<{ error: ExecFileException | null; stderr: string }>((done) =>
    execFile('tcpdump', ['-y', 'EN10MB', '-d', '--', filter], { signal, timeout: 5_000 }, (error, _stdout, stderr) =>
      done({ error, stderr }),
    ),
  );
  if (!error) return;
  if (error.code === 'ENOENT') throw new WeftError('not-found', 'tcpdump is not installed on this host');
  const what = /^tcpdump: (.*)/m.exec(stderr)?.[1] ?? error.message;
  throw new WeftError(
    'invalid',
    `${shown(filter)}: no filter of tcpdump (${what}); 'man pcap-filter' tells how one is written`,
  );
}
