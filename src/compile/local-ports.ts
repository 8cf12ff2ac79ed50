import { contribute, defineSink } from '../incremental/definitions.ts';
import { define, type LocalPort, macsOf } from './inputs.ts';
import { cidrOf } from './owned.ts';

/** Ports that have an interface here, for indexes that a join would need otherwise: worked out beside the local switches. */
export const localPortSink = defineSink<LocalPort, LocalPort>({
  name: 'localPort',
  merge: (contributions) => contributions[0]!.value,
});

export const localPortsUnit = define.unit({
  name: 'localPorts',
  over: 'interface',
  run(reader, id) {
    const port = reader.get('port', id);
    if (port === undefined) return [];
    const isSized = reader.pick('switch', port.switch, 'mtu') !== undefined;
    const found = { kind: 'localPort', id, switch: port.switch, ...(isSized ? { isSized } : {}) } as const;
    if (!port.portSecurity) return [contribute(localPortSink, id, found)];
    const owned = [...port.addresses, ...port.allowedPairs.map(({ address }) => address)];
    const addresses = owned.filter((text) => cidrOf(text).ip.version === 4);
    return [contribute(localPortSink, id, { ...found, guarded: { macs: macsOf(port), addresses } })];
  },
});
