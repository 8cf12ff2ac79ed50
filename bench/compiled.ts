import { type Compiler, createCompiler } from '../src/compile/compiler.ts';
import type { InputRecord } from '../src/compile/inputs.ts';
import { ENCAP, HOST_IDS, type NetworkSize, networkRecords, planPorts } from './network.ts';

const TUNNEL_OFPORT = 1;
const FIRST_OFPORT = 10;

/** What the first host's agent knows: the records of its scope, itself, and an interface for each of its ports. */
export function inputsOf(size: NetworkSize): InputRecord[] {
  const inputs: InputRecord[] = [
    { kind: 'self', id: 'self', host: HOST_IDS[0], tunnelPorts: { [ENCAP]: TUNNEL_OFPORT } },
    ...networkRecords(size),
  ];
  let ofport = FIRST_OFPORT;
  for (const { host, id, name } of planPorts(size))
    if (host === 0) inputs.push({ kind: 'interface', id, ofport: ofport++, name });
  return inputs;
}

/**
 * A compiler that has the first host's part of a network, and how long that took from nothing. `adapt` may make other records of those of
 * the plan.
 */
export function compileNetwork(
  size: NetworkSize,
  adapt: (record: InputRecord) => InputRecord = (record) => record,
): { readonly compiler: Compiler; readonly elapsedMs: number } {
  const inputs = inputsOf(size).map(adapt);
  const from = performance.now();
  const compiler = createCompiler();
  const { problems } = compiler.update(inputs.map((record) => ({ op: 'put', record })));
  if (problems[0]) throw new Error(`${problems[0].unit}: ${problems[0].message}`);
  return { compiler, elapsedMs: performance.now() - from };
}
