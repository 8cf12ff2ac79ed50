import fc from 'fast-check';
import { type Compiler, type CompilerChange, createCompiler } from '../../src/compile/compiler.ts';
import type { InputRecord } from '../../src/compile/inputs.ts';
import { type FrameSketch, frameSketch } from '../../src/model/frame-sketch.ts';
import { type ModelSketch, modelSketch } from '../../src/model/generate.ts';
import { buildModel, type PluggedInterface } from '../../src/model/generate-build.ts';
import { buildFrame } from '../../src/model/generate-frames.ts';
import { at } from '../../src/model/generated.ts';
import { type ModelIndex, modelOf } from '../../src/model/model-index.ts';
import type { Encap, ScopeRecord, ScopeRecordOfKind } from '../../src/model/objects.ts';
import { ScopeIndex } from '../../src/server/scope.ts';

/** One model and some frames for it; plain data, so that a failure can be kept as JSON. */
export interface ScenarioSketch {
  readonly model: ModelSketch;
  readonly frames: readonly { readonly at: number; readonly frame: FrameSketch }[];
  readonly lost?: LostSketch;
}

/** Of two hosts, by number, the first gets no answer from the second. */
export type LostSketch = readonly (readonly [number, number])[];

const someLost = fc.array(fc.tuple(fc.nat({ max: 3 }), fc.nat({ max: 3 })), { minLength: 1, maxLength: 4 });
export const lostSketch: fc.Arbitrary<LostSketch> = fc.oneof(
  { weight: 3, arbitrary: fc.constant([]) },
  { weight: 1, arbitrary: someLost },
);

export function scenarioSketch(frames: {
  readonly least: number;
  readonly most: number;
}): fc.Arbitrary<ScenarioSketch> {
  return fc.record({
    model: modelSketch,
    frames: fc.array(fc.record({ at: fc.nat({ max: 23 }), frame: frameSketch }), {
      minLength: frames.least,
      maxLength: frames.most,
    }),
    lost: lostSketch,
  });
}

/** OpenFlow ports of tunnels, the same on every host. */
export const TUNNEL_PORTS = { geneve: 1, vxlan: 2, gre: 3 } as const satisfies Record<Encap, number>;
export const FIRST_OFPORT = 10;
/** Each host has zones of its own: the bridges of one real switch share its connection tracking. */
const ZONES_PER_HOST = 64;
const FIRST_NAT_ZONE = 40;
const ZONE_STEP = 4;
const METERS = { packetIn: 1, sample: 2, handOff: 6 } as const;

export interface ScenarioHost {
  readonly id: string;
  readonly tunnelAddress: string;
  readonly encap: Encap;
  /** OpenFlow port → logical port. */
  readonly ports: ReadonlyMap<number, string>;
  readonly inputs: readonly InputRecord[];
  readonly compiler: Compiler;
}

export interface Entry {
  readonly port: string;
  readonly host: string;
  readonly ofport: number;
  readonly bytes: Uint8Array;
  readonly sketch: FrameSketch;
  /** The host's agent does not know yet that the interface counts. */
  readonly early: boolean;
}

export interface Scenario {
  readonly model: ModelIndex;
  readonly hosts: readonly ScenarioHost[];
  readonly entries: readonly Entry[];
}

/** As the sketch, over an underlay of IPv4: the only one that the bridges of open-vswitch-farm.ts have. */
export function overIpv4(sketch: ScenarioSketch): ScenarioSketch {
  return { ...sketch, model: { ...sketch.model, underlay: 4 } };
}

/** The model, each host's compiled flows, and the frames with where they enter. */
export function buildScenario(sketch: ScenarioSketch): Scenario {
  const { records, interfaces } = buildModel(sketch.model);
  const model = modelOf(records);
  // The server knows of early interfaces, and so do all others; only the agent there does not know that it does.
  for (const { port, host, early } of interfaces) if (early) model.put(bindingOf(model, port, host));
  const lost = lostAmong(
    [...model.hosts()].map(({ id }) => id),
    sketch.lost ?? [],
  );
  for (const [host, others] of lost) model.setLost(host, others);
  const scopes = new ScopeIndex(model);
  const hosts = [...model.hosts()].map((host, n) => {
    const plugged = interfaces.filter((each) => each.host === host.id);
    const scope = [...scopes.attach(host.id).records()].filter(
      (record) => !(record.kind === 'binding' && plugged.some(({ port, early }) => early && port === record.id)),
    );
    const facts = (lost.get(host.id) ?? []).map((id): InputRecord => ({ kind: 'hostLost', id }));
    return buildHost(host, model.get('tunnelZone', host.zone)!.encap, [...scope, ...facts], plugged, n);
  });
  const entries = sketch.frames.flatMap(({ at: index, frame }): Entry[] => {
    if (interfaces.length === 0) return [];
    const { port, host, early } = at(interfaces, index);
    const ofport = [...hosts.find(({ id }) => id === host)!.ports].find(([, id]) => id === port)![0];
    return [{ port, host, ofport, bytes: buildFrame(frame, model, port), sketch: frame, early }];
  });
  return { model, hosts, entries };
}

/** Host → those that do not answer it. */
function lostAmong(hosts: readonly string[], sketch: LostSketch): ReadonlyMap<string, readonly string[]> {
  const lost = new Map<string, string[]>();
  for (const [first, second] of sketch) {
    const [host, other] = [at(hosts, first), at(hosts, second)];
    if (host !== other) lost.set(host, [...new Set([...(lost.get(host) ?? []), other])]);
  }
  return lost;
}

function bindingOf(model: ModelIndex, port: string, host: string): ScopeRecord {
  const { switch: switchId } = model.get('port', port)!;
  const claims = [{ host, interface: 'early', sinceMs: 1 }];
  return { kind: 'binding', id: port, revision: 1, switch: switchId, claims, active: host };
}

function buildHost(
  host: ScopeRecordOfKind['host'],
  encap: Encap,
  scope: readonly InputRecord[],
  plugged: readonly PluggedInterface[],
  n: number,
): ScenarioHost {
  const ports = new Map(plugged.map(({ port }, i) => [FIRST_OFPORT + i, port]));
  const inputs: InputRecord[] = [
    ...scope,
    // Samples of what is dropped may change nothing else: the first host makes none.
    {
      kind: 'self',
      id: 'self',
      host: host.id,
      tunnelPorts: TUNNEL_PORTS,
      meters: n === 0 ? { handOff: METERS.handOff } : METERS,
    },
    ...[...ports].map(([ofport, id], i): InputRecord => {
      const zone = ZONE_STEP * (ZONES_PER_HOST * n + i + 1);
      return { kind: 'interface', id, ofport, name: `if${ofport}`, zone };
    }),
    ...scope
      .filter(({ kind }) => kind === 'router')
      .map(({ id }, i): InputRecord => {
        const zone = ZONE_STEP * (ZONES_PER_HOST * n + FIRST_NAT_ZONE + i);
        // What that asks may change nothing while there is room.
        return { kind: 'natZone', id, zone, isTight: (n + i) % 2 === 0 };
      }),
  ];
  const compiler = createCompiler();
  const { problems } = compiler.update(inputs.map((record): CompilerChange => ({ op: 'put', record })));
  if (problems.length > 0) throw new Error(`compile problems on ${host.id}: ${JSON.stringify(problems)}`);
  return { id: host.id, tunnelAddress: host.tunnelAddress, encap, ports, inputs, compiler };
}
