import assert from 'node:assert/strict';
import { parseIp } from '../base/addresses.ts';
import { type Compiler, createCompiler } from '../compile/compiler.ts';
import type { InputRecord } from '../compile/inputs.ts';
import { type Reason, TABLES, tableName } from '../compile/tables.ts';
import type { Action, Flow } from '../openflow/flow.ts';
import { CT_ALG, OFPP } from '../openflow/flow.ts';
import { ETHER_TYPE } from '../packet/ethernet.ts';
import type { Tunnel } from './packet-state.ts';
import { Pipeline, type RunInput } from './pipeline.ts';
import type { Output, PacketIn, Result, Step } from './result.ts';

/** OpenFlow port of the tunnel on every host of a `Network`. */
export const TUNNEL_OFPORT = 99;

/** A host of a network: its id, tunnel address and interfaces (OpenFlow port → port id). */
export interface NetworkHost {
  readonly id: string;
  readonly tunnelAddress: string;
  readonly interfaces: ReadonlyMap<number, string>;
}

/** What became of a frame, on all hosts that it met. */
export interface Journey {
  /** Copies that reached a workload. */
  readonly delivered: readonly { readonly host: string; readonly port: string; readonly bytes: Uint8Array }[];
  /** Answers that went back to the sender. */
  readonly answered: readonly Uint8Array[];
  /** First byte of the userdata: the class. */
  readonly packetIns: readonly (PacketIn & { readonly host: string })[];
  /** Why copies ended, in order. */
  readonly reasons: readonly Reason[];
  readonly results: readonly { readonly host: string; readonly result: Result }[];
}

/** Hosts whose compiled flows are executed, with tunnels between them. */
export class Network {
  readonly #hosts = new Map<
    string,
    { readonly host: NetworkHost; readonly compiler: Compiler; readonly pipeline: Pipeline }
  >();

  /** `inputsOf` gives what a host compiles from. */
  constructor(hosts: readonly NetworkHost[], inputsOf: (host: NetworkHost) => readonly InputRecord[]) {
    for (const host of hosts) {
      const compiler = createCompiler();
      const { add } = compiler.update(inputsOf(host).map((record) => ({ op: 'put', record })));
      add.forEach(assertTaken);
      this.#hosts.set(host.id, {
        host,
        compiler,
        pipeline: new Pipeline({ flows: compiler.flows(), fragments: 'nxMatch' }),
      });
    }
  }

  /** All hosts hear of a change; what they track stays. */
  change(...records: readonly InputRecord[]): void {
    for (const { compiler, pipeline } of this.#hosts.values()) {
      const { add, remove } = compiler.update(records.map((record) => ({ op: 'put', record })));
      add.forEach(assertTaken);
      pipeline.apply(add, remove);
    }
  }

  compilerOf(host: string): Compiler {
    return this.#hosts.get(host)!.compiler;
  }

  /** A flow that is not compiled. */
  install(host: string, flow: Flow): void {
    this.#hosts.get(host)!.pipeline.apply([flow]);
  }

  /** So many connections may a zone of a host hold. */
  limit(host: string, zone: number, most: number): void {
    this.#hosts.get(host)!.pipeline.conntrack.limit(zone, most);
  }

  /** Helpers for FTP of a host hear, on every connection that has one, that its server (`isReply`) or its client waits at this port. */
  hear(host: string, isReply: boolean, port: number): void {
    const { conntrack } = this.#hosts.get(host)!.pipeline;
    for (const connection of [...conntrack.connections()])
      if (connection.alg === CT_ALG.ftp) conntrack.expect(connection, isReply, port);
  }

  /** A frame that a workload sends on an interface of a host. */
  send(hostId: string, ofport: number, bytes: Uint8Array): Journey {
    return this.#follow(hostId, { inPort: ofport, bytes });
  }

  /** A frame that comes out of a host's tunnel. */
  arrive(hostId: string, tunnel: Tunnel, bytes: Uint8Array): Journey {
    return this.#follow(hostId, { inPort: TUNNEL_OFPORT, bytes, tunnel });
  }

  #follow(hostId: string, input: RunInput): Journey {
    const journey = { delivered: [], answered: [], packetIns: [], reasons: [], results: [] } as {
      -readonly [K in keyof Journey]: Journey[K][number][];
    };
    const pending = [{ hostId, input }];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const { host, compiler, pipeline } = this.#hosts.get(next.hostId)!;
      const result = pipeline.run(next.input);
      journey.results.push({ host: host.id, result });
      journey.packetIns.push(...result.packetIns.map((packetIn) => ({ ...packetIn, host: host.id })));
      journey.reasons.push(...reasonsOf(compiler, result));
      for (const output of result.outputs) {
        const isBack = output.port === OFPP.inPort || output.port === next.input.inPort;
        if (isBack && output.port !== TUNNEL_OFPORT) journey.answered.push(output.bytes);
        else if (output.port === TUNNEL_OFPORT) {
          const arrival = this.#tunnelled(host, output);
          if (arrival !== undefined) pending.push(arrival);
        } else
          journey.delivered.push({ host: host.id, port: host.interfaces.get(output.port) ?? '', bytes: output.bytes });
      }
    }
    return journey;
  }

  #tunnelled(from: NetworkHost, { bytes, tunnel }: Output): { hostId: string; input: RunInput } | undefined {
    for (const { host } of this.#hosts.values()) {
      if (parseIp(host.tunnelAddress)!.value !== tunnel.dst) continue;
      const src = parseIp(from.tunnelAddress)!.value;
      return {
        hostId: host.id,
        input: { inPort: TUNNEL_OFPORT, bytes, tunnel: { id: tunnel.id, src, dst: tunnel.dst } },
      };
    }
    return undefined;
  }
}

/** Ends of the way: flows that say why, misses whose table says why, and outputs to where the frame came from. */
function reasonsOf(compiler: Compiler, result: Result): Reason[] {
  const reasons: Reason[] = [];
  for (const { table, flow } of result.steps as readonly Step[]) {
    const name = tableName(table);
    const reason =
      flow === undefined
        ? name && (TABLES[name] as { missReason?: Reason }).missReason
        : compiler.explain(flow.cookie).reason;
    if (reason !== undefined) reasons.push(reason);
  }
  for (const drop of result.drops) if (drop.reason === 'to-in-port') reasons.push('hairpin');
  return reasons;
}

/** Open vSwitch takes `ct` in flows for IP alone (`ofpact_check`, lib/ofp-actions.c: OFPBAC_MATCH_INCONSISTENT). */
function assertTaken({ table, match, actions }: Flow): void {
  if (match.eth_type === ETHER_TYPE.ipv4 || match.eth_type === ETHER_TYPE.ipv6) return;
  assert.ok(!actions.some(isTracking), `a flow of table ${tableName(table)} tracks what need not be IP`);
}

function isTracking(action: Action): boolean {
  return action.kind === 'ct' || (action.kind === 'clone' && action.actions.some(isTracking));
}
