import { contribute, defineSink } from '../incremental/definitions.ts';
import { define, type GuardedPort, macsOf } from './inputs.ts';
import { cidrOf } from './owned.ts';

/**
 * What ports here with port security own, as records: from all of them together follow the flows that keep drops wide (units/wide.ts).
 * Worked out beside the local switches, for the same reason.
 */
export const guardedPortSink = defineSink<GuardedPort, GuardedPort>({
  name: 'guardedPort',
  merge: (contributions) => contributions[0]!.value,
});

export const guardedPortsUnit = define.unit({
  name: 'guardedPorts',
  over: 'interface',
  run(reader, id) {
    const port = reader.get('port', id);
    if (port === undefined || !port.portSecurity) return [];
    const owned = [...port.addresses, ...port.allowedPairs.map(({ address }) => address)];
    const addresses = owned.filter((text) => cidrOf(text).ip.version === 4);
    return [
      contribute(guardedPortSink, id, { kind: 'guardedPort', id, switch: port.switch, macs: macsOf(port), addresses }),
    ];
  },
});
