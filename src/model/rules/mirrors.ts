import { formatIp, parseIp } from '../../base/addresses.ts';
import { describe } from '../describe.ts';
import type { ModelIndex } from '../model-index.ts';
import type { Host, Mirror, Vtep } from '../objects.ts';
import type { Problem } from '../problem.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';

/** How many floating addresses with a limit may lead to one port: each has two meters, whose ids follow from the port. */
export const MOST_LIMITED = 4;

/**
 * Copies go elsewhere than to where they are made, and never to where tunnels of ours end, a VTEP's too: what a tenant sends could else be taken
 * for another's frame. What is limited has its meters.
 */
export const checkMirrors: Rule = (index, changes, report) => {
  for (const { after } of written(changes, 'mirror')) checkMirror(index, after, report);
  const collected = (of: Host | Vtep, ends: Iterable<TunnelEnd>): void => {
    for (const { address, path } of ends)
      for (const mirror of index.all('mirror'))
        if (isCollector(mirror, address))
          report({
            object: describe(index, of),
            path,
            code: 'collector',
            message: `${describe(index, mirror)} sends copies to ${address}`,
          });
  };
  for (const { after } of written(changes, 'host')) collected(after, [endOfHost(after)]);
  for (const { after } of written(changes, 'vtep')) collected(after, endsOfVtep(after));
  for (const { after } of written(changes, 'floatingAddress')) {
    if (after.limit === undefined) continue;
    let limited = 0;
    for (const other of index.referrersOf('port', after.port))
      if (other.kind === 'floatingAddress' && other.limit !== undefined) limited++;
    if (limited <= MOST_LIMITED) continue;
    const message = `more than ${MOST_LIMITED} floating addresses with a limit lead to the port`;
    report({ object: describe(index, after), path: 'limit', code: 'limits', message });
  }
};

function checkMirror(index: ModelIndex, mirror: Mirror, report: (problem: Problem) => void): void {
  const object = describe(index, mirror);
  for (const [at, port] of mirror.ports.entries()) {
    const path = `ports[${at}]`;
    if (port === mirror.to.port)
      report({ object, path, code: 'ambiguous', message: 'the port that gets the copies cannot be copied' });
    if (mirror.ports.indexOf(port) !== at)
      report({ object, path, code: 'ambiguous', message: `ports[${mirror.ports.indexOf(port)}] is the same port` });
  }
  const collected = (of: Host | Vtep, ends: Iterable<TunnelEnd>): void => {
    for (const { address, what } of ends)
      if (isCollector(mirror, address)) {
        const message = `${address} is ${what} of ${describe(index, of)}`;
        report({ object, path: 'to.collector.address', code: 'collector', message });
      }
  };
  for (const host of index.all('host')) collected(host, [endOfHost(host)]);
  for (const vtep of index.all('vtep')) collected(vtep, endsOfVtep(vtep));
}

/** An address at which tunnels of ours end. */
interface TunnelEnd {
  readonly address: string;
  readonly path: string;
  readonly what: string;
}

function endOfHost({ tunnelAddress }: Host): TunnelEnd {
  return { address: tunnelAddress, path: 'tunnelAddress', what: 'the tunnel address' };
}

/** Its own where it is written, and those at which it reaches hosts. */
function* endsOfVtep({ tunnelAddress, places }: Vtep): Iterable<TunnelEnd> {
  if (tunnelAddress !== undefined) yield { address: tunnelAddress, path: 'tunnelAddress', what: 'the tunnel address' };
  for (const [at, { address }] of places.entries())
    if (address !== undefined) yield { address, path: `places[${at}].address`, what: `the address of places[${at}]` };
}

function isCollector({ to }: Mirror, address: string): boolean {
  const ip = parseIp(address);
  return ip !== undefined && to.collector?.address === formatIp(ip);
}
