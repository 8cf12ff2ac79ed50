import type { InputRecord } from '../inputs.ts';
import { type GeneratedModel, recordsOf } from './random-model.ts';

/** OpenFlow port of the tunnel on every host of a random model. */
export const TUNNEL_OFPORT = 99;

/** What one host of a random model compiles from. */
export function inputsOf(model: GeneratedModel, host: string): InputRecord[] {
  return [
    ...recordsOf(model),
    {
      kind: 'self',
      id: 'self',
      host,
      tunnelPorts: { [model.zone.encap]: TUNNEL_OFPORT },
      meters: { packetIn: 1, sample: 2 },
    },
    ...model.interfaces
      .filter((entry) => entry.host === host)
      .map(({ port, ofport }): InputRecord => ({ kind: 'interface', id: port, ofport, name: `tap${ofport}` })),
  ];
}
