import fc from 'fast-check';
import { type ModelSketch, modelSketch } from '../../model/generate.ts';
import { buildModel, type GeneratedModel } from '../../model/generate-build.ts';
import { routedModelSketch } from '../../model/generate-routed.ts';
import type { Host, LogicalPort } from '../../model/objects.ts';
import type { InputRecord } from '../inputs.ts';

/** OpenFlow port of the tunnel on every host of a random model. */
export const TUNNEL_OFPORT = 99;

/** Random models of switches alone. */
export const switchedModel: fc.Arbitrary<GeneratedModel> = modelSketch
  .map(buildModel)
  .filter((model) => hostsOf(model).length > 0);

/** Random models in which there is something to compile: a host at least. Half of them have what layers 3 and 4 add. */
export const randomModel: fc.Arbitrary<GeneratedModel> = fc
  .oneof(modelSketch, routedModelSketch)
  .map(buildModel)
  .filter((model) => hostsOf(model).length > 0);

/** Random models with routers that ask nothing of conntrack: no groups, no translation, no balancers, no rules by state. */
export const untrackedModel: fc.Arbitrary<GeneratedModel> = routedModelSketch
  .map((sketch) => buildModel(withoutTracking(sketch)))
  .filter((model) => hostsOf(model).length > 0);

function withoutTracking(sketch: ModelSketch): ModelSketch {
  const { network, chains, switches } = sketch;
  const without = <T extends { readonly state?: unknown }>({ state: _, ...match }: T): Omit<T, 'state'> => match;
  return {
    ...sketch,
    chains: chains.map(({ policy, rules }) => ({
      policy,
      rules: rules.map(({ ends: _, ...rule }) => ({ ...rule, match: without(rule.match) })),
    })),
    switches: switches.map((each) => ({ ...each, ports: each.ports.map((port) => ({ ...port, groups: [] })) })),
    ...(network === undefined
      ? {}
      : {
          network: {
            ...{ groups: [], sets: [], floating: [], balancers: [] },
            routers: network.routers.map((router) => ({ ...router, snat: [] })),
          },
        }),
  };
}

export function hostsOf(model: GeneratedModel): Host[] {
  return model.records.filter((record): record is Host => record.kind === 'host');
}

export function portsOf(model: GeneratedModel): LogicalPort[] {
  return model.records.filter((record): record is LogicalPort => record.kind === 'port');
}

/** What one host of a random model compiles from. Its interfaces are numbered from 1. */
export function inputsOf(model: GeneratedModel, host: string): InputRecord[] {
  return [
    ...model.records,
    {
      kind: 'self',
      id: 'self',
      host,
      tunnelPorts: { geneve: TUNNEL_OFPORT, vxlan: TUNNEL_OFPORT, gre: TUNNEL_OFPORT },
      meters: { packetIn: 1, sample: 2, handOff: 6 },
    },
    ...model.interfaces
      .filter((entry) => entry.host === host)
      .map(
        ({ port }, i): InputRecord => ({
          kind: 'interface',
          id: port,
          ofport: i + 1,
          name: `tap${i + 1}`,
          zone: 4 * i + 4,
        }),
      ),
    ...model.records
      .filter(({ kind }) => kind === 'router')
      .map(({ id }, i): InputRecord => ({ kind: 'natZone', id, zone: 4096 + 4 * i, isTight: i % 2 === 0 })),
  ];
}
