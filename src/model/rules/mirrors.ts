import { formatIp, parseIp } from '../../base/addresses.ts';
import { describe } from '../describe.ts';
import type { ModelIndex } from '../model-index.ts';
import type { Mirror } from '../objects.ts';
import type { Problem } from '../problem.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';

/** How many floating addresses with a limit may lead to one port: each has two meters, whose ids follow from the port. */
export const MOST_LIMITED = 4;

/** Copies go elsewhere than to where they are made, and never into our own tunnels; what is limited has its meters. */
export const checkMirrors: Rule = (index, changes, report) => {
  for (const { after } of written(changes, 'mirror')) checkMirror(index, after, report);
  for (const { after } of written(changes, 'host'))
    for (const mirror of index.all('mirror'))
      if (isTunnelOf(mirror, after.tunnelAddress))
        report({
          object: describe(index, after),
          path: 'tunnelAddress',
          code: 'collector',
          message: `${describe(index, mirror)} sends copies to ${after.tunnelAddress}`,
        });
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
  for (const host of index.all('host'))
    if (isTunnelOf(mirror, host.tunnelAddress)) {
      const message = `${host.tunnelAddress} is the tunnel address of host ${host.name}`;
      report({ object, path: 'to.collector.address', code: 'collector', message });
    }
}

function isTunnelOf({ to }: Mirror, tunnelAddress: string): boolean {
  const ip = parseIp(tunnelAddress);
  return ip !== undefined && to.collector?.address === formatIp(ip);
}
