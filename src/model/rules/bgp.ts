import { parseIp } from '../../base/addresses.ts';
import { holdsAddress } from '../address-uses.ts';
import { describe } from '../describe.ts';
import { routerIdAt } from '../gateways.ts';
import type { ModelIndex } from '../model-index.ts';
import { nextHopsBy } from '../multihop.ts';
import type { BgpPeer, RouterPort } from '../objects.ts';
import type { Problem, ProblemCode } from '../problem.ts';
import { isHostAddress, isLinkLocal6 } from '../subnets.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';

/** Sessions with the outside are spoken by routers that speak BGP, at ports from which the other side can be reached. */
export const checkBgp: Rule = (index, changes, report) => {
  const checked = new Set<string>();
  const check = (peers: Iterable<BgpPeer>): void => {
    for (const peer of peers) {
      if (checked.has(peer.id)) continue;
      checked.add(peer.id);
      checkPeer(index, peer, report);
    }
  };
  for (const { after } of written(changes, 'bgpPeer')) check([after]);
  for (const { after } of written(changes, 'router')) check(index.bgpPeersOfRouter(after.id));
  for (const { after } of written(changes, 'routerPort')) check(index.bgpPeersAt(after.id));
  for (const { before, after } of written(changes, 'switch'))
    if (before && before.vlanAware !== after.vlanAware)
      for (const port of index.routerPortsOfSwitch(after.id)) check(index.bgpPeersAt(port.id));
  checkOwnSystem(index, changes, report);
};

/** Only where a number changed: what was stored while such peers were taken forbids no other change of it. */
const checkOwnSystem: Rule = (index, changes, report) => {
  const numbered = new Set<BgpPeer>();
  for (const { before, after } of written(changes, 'bgpPeer'))
    if (before?.asn !== after.asn || before.router !== after.router) numbered.add(after);
  for (const { before, after } of written(changes, 'router'))
    if (before?.bgp?.asn !== after.bgp?.asn) for (const peer of index.bgpPeersOfRouter(after.id)) numbered.add(peer);
  for (const peer of numbered) {
    const router = index.get('router', peer.router);
    if (router?.bgp?.asn !== peer.asn) continue;
    report({
      ...{ object: describe(index, peer), path: 'asn', code: 'own-as' },
      message: `AS ${peer.asn} is that of ${describe(index, router)} too: no BGP is spoken within one AS`,
      hint: "give the upstream's AS, or the router another: a private one is 64512 to 65534",
    });
  }
};

type Report = (problem: Problem) => void;
/** About one peer. */
type ReportOf = (path: string, code: ProblemCode, message: string, hint?: string) => void;

function checkPeer(index: ModelIndex, peer: BgpPeer, report: Report): void {
  const problem: ReportOf = (path, code, message, hint) =>
    report({ object: describe(index, peer), path, code, message, ...(hint === undefined ? {} : { hint }) });
  const router = index.get('router', peer.router);
  if (router && router.bgp === undefined)
    problem('router', 'no-bgp', `${describe(index, router)} has no bgp`, 'give it an autonomous system: bgp.asn');
  const ip = parseIp(peer.address)!;
  if (isLinkLocal6(ip))
    problem('address', 'address-reserved', `${peer.address} is link-local`, "give the peer's global address");
  else if (!isHostAddress(ip)) problem('address', 'address-reserved', `${peer.address} is no address of a host`);
  const port = index.get('routerPort', peer.routerPort);
  if (!port) return;
  if (router?.bgp !== undefined && routerIdAt(router.bgp.routerId, [port]) === undefined)
    problem('router', 'no-bgp', `${describe(index, router)} has no router id there`, 'without IPv4 give bgp.routerId');
  if (port.router !== peer.router)
    return problem('routerPort', 'bgp-port', `${describe(index, port)} belongs to another router`);
  checkPort(index, peer, port, problem);
  for (const twin of index.bgpPeersAt(port.id))
    if (twin.id !== peer.id && twin.address === peer.address) {
      problem('address', 'duplicate-address', `${describe(index, twin)} is ${peer.address} at the same router port`);
      break;
    }
}

function checkPort(index: ModelIndex, peer: BgpPeer, port: RouterPort, problem: ReportOf): void {
  const name = describe(index, port);
  const device = port.switch === undefined ? undefined : index.get('switch', port.switch);
  if (port.outside) problem('routerPort', 'bgp-port', `${name} is outside: addresses are translated there`);
  if (port.switch === undefined) problem('routerPort', 'bgp-port', `${name} joins no switch`);
  if (device?.vlanAware) problem('routerPort', 'bgp-port', `${describe(index, device)} is VLAN-aware`);
  const ip = parseIp(peer.address)!;
  if (port.addresses.some((text) => text.startsWith(`${peer.address}/`)))
    problem('address', 'next-hop', `${peer.address} is the router port's own address`);
  if (!port.addresses.some((text) => text.includes(':') === (ip.version === 6)))
    problem('routerPort', 'ip-version', `${name} has no IPv${ip.version} address`);
  else if (!holdsAddress(port, ip) && !isLinkLocal6(ip)) checkWay(index, peer, port, problem);
}

/** Of a peer that is in no network of its port. */
function checkWay(index: ModelIndex, peer: BgpPeer, port: RouterPort, problem: ReportOf): void {
  const name = describe(index, port);
  const where = `${peer.address} is in no network of ${name} (${port.addresses.join(', ')})`;
  if ((peer.multihop ?? 1) === 1)
    return problem('address', 'next-hop', `${where}: give multihop where it is further away`);
  const router = index.get('router', peer.router);
  const ip = parseIp(peer.address)!;
  if (router === undefined || nextHopsBy(router, port, ip).length > 0) return;
  const to = `${peer.address}/${ip.version === 4 ? 32 : 128}`;
  problem(
    'address',
    'next-hop',
    `${where}, and no static route leads to it by a next hop there: give ${describe(index, router)} one to ${to}`,
  );
}
