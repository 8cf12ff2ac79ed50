import { parseIp } from '../../base/addresses.ts';
import type { Contribution } from '../../incremental/definitions.ts';
import type { Mirror } from '../../model/objects.ts';
import { type Action, OFPP } from '../../openflow/flow.ts';
import { localSwitch, tunnelOfport, wayTo } from '../facts.ts';
import { match, set } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, type Reader } from '../inputs.ts';
import { placementOf } from '../placement.ts';
import { planOf } from '../rule-match.ts';
import { TUNNEL } from './tunnel.ts';

/** Where the copies of a mirror go (docs/design/layer3.md, §11). They are handed over at once: nothing filters, tracks or copies them. */
export const mirrorUnit = define.unit({
  name: 'mirror',
  over: 'mirror',
  run(reader, id): readonly Contribution[] {
    const mirror = reader.get('mirror', id)!;
    const arrival = arrivals(reader, mirror);
    if (!copiesHere(reader, mirror)) return arrival;
    const target = { do: ways(reader, mirror) };
    return [
      ...arrival,
      ...planOf(mirror.match).matches.map(({ fields }) =>
        flow('mirror', 100, match({ mirror: mirror.key }, fields), target),
      ),
    ];
  },
});

function copiesHere(reader: Reader, { ports, switch: onSwitch }: Mirror): boolean {
  if (onSwitch !== undefined && reader.derive(localSwitch, onSwitch) !== undefined) return true;
  return ports.some((port) => reader.pick('interface', port, 'ofport') !== undefined);
}

/** A copy may go where its frame came from: to the workload, or into the tunnel. */
const FORGET_IN_PORT: Action = {
  kind: 'load',
  value: OFPP.any & 0xffff,
  dst: { field: 'in_port', from: 0, bits: 16 },
};

function ways(reader: Reader, { to, key }: Mirror): Action[] {
  const tunnel = reader.derive(tunnelOfport, '');
  const through = (tunnelKey: number, way: Action): Action[] =>
    tunnel === undefined ? [] : [set('tun_id', BigInt(tunnelKey)), way, { kind: 'output', port: tunnel }];
  const collector = to.collector && parseIp(to.collector.address);
  if (to.collector && collector) {
    const field = collector.version === 4 ? 'tun_dst' : 'tun_ipv6_dst';
    return [FORGET_IN_PORT, ...through(to.collector.key, set(field, collector.value))];
  }
  if (to.port === undefined || reader.pick('port', to.port, 'adminUp') !== true) return [];
  const { hosts, ofport } = placementOf(reader, to.port);
  const remote = hosts.flatMap((host) => {
    const way = reader.derive(wayTo, host);
    return way === undefined || way === 'here' ? [] : through(key, way);
  });
  return [FORGET_IN_PORT, ...(ofport === undefined ? [] : [{ kind: 'output', port: ofport } as const]), ...remote];
}

/** At the host of the port that gets the copies. */
function arrivals(reader: Reader, { to, key }: Mirror): Contribution[] {
  if (to.port === undefined || reader.pick('port', to.port, 'adminUp') !== true) return [];
  const { ofport } = placementOf(reader, to.port);
  if (ofport === undefined) return [];
  return [flow('tunnel', TUNNEL.fits, { tun_id: BigInt(key) }, { do: [{ kind: 'output', port: ofport }] })];
}
