import { parseIp } from '../../base/addresses.ts';
import { holdsAddress } from '../address-uses.ts';
import { describe } from '../describe.ts';
import type { DraftChange } from '../draft.ts';
import type { ModelIndex } from '../model-index.ts';
import type { Router, RouterPort } from '../objects.ts';
import type { Problem } from '../problem.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';

/** Next hops that are probed (docs/design/gateways.md, §7) can be: they are outside, and what they answer is for nobody else. */
export const checkNextHopProbes: Rule = (index, changes, report) => {
  for (const id of routersOf(index, changes)) {
    const router = index.get('router', id);
    if (router?.routes.some(({ probe }) => probe !== undefined)) checkRouter(index, router, report);
  }
};

/** Routers whose probes a change can have broken. */
function routersOf(index: ModelIndex, changes: readonly DraftChange[]): ReadonlySet<string> {
  const routers = new Set<string>();
  for (const { after } of written(changes, 'router')) routers.add(after.id);
  for (const { after } of written(changes, 'routerPort')) routers.add(after.router);
  for (const { after } of written(changes, 'floatingAddress')) routers.add(after.router);
  for (const { after } of written(changes, 'loadBalancer')) if (after.router !== undefined) routers.add(after.router);
  for (const { after } of written(changes, 'bgpPeer')) routers.add(after.router);
  for (const { before, after } of written(changes, 'switch'))
    if (before && before.vlanAware !== after.vlanAware)
      for (const port of index.routerPortsOfSwitch(after.id)) routers.add(port.router);
  return routers;
}

function checkRouter(index: ModelIndex, router: Router, report: (problem: Problem) => void): void {
  const object = describe(index, router);
  const ports = [...index.routerPortsOfRouter(router.id)];
  const known = new Map<string, { readonly at: number; readonly text: string }>();
  for (const [at, { via, probe }] of router.routes.entries()) {
    if (via === undefined || probe === undefined) continue;
    const problem = (message: string, hint?: string): void =>
      report({ object, path: `routes[${at}].probe`, code: 'probe', message, ...(hint === undefined ? {} : { hint }) });
    const text = JSON.stringify(probe);
    const twin = known.get(via);
    if (twin === undefined) known.set(via, { at, text });
    else if (twin.text !== text)
      problem(`routes[${twin.at}] probes ${via} in another way`, 'a next hop has one probe: give both the same');
    // Routes may be written before ports; where no network holds a next hop is checkRouters' to say.
    const port = ports.find((each) => holdsAddress(each, parseIp(via)!));
    if (port) checkAt(index, port, via, probe.type, problem);
  }
}

function checkAt(
  index: ModelIndex,
  port: RouterPort,
  via: string,
  type: 'arp' | 'ping' | 'bfd',
  problem: (message: string, hint?: string) => void,
): void {
  const device = port.switch === undefined ? undefined : index.get('switch', port.switch);
  if (device === undefined)
    return problem(
      `${via} is reached by ${describe(index, port)}, which joins no switch`,
      'next hops outside are probed',
    );
  if (device.vlanAware) problem(`${via} is on ${describe(index, device)}, which is VLAN-aware`);
  for (const owner of index.portsWithAddress(device.id, via)) {
    problem(`${via} is ${describe(index, owner)}`, 'next hops outside are probed, behind a port without port security');
    break;
  }
  if (type === 'bfd')
    for (const peer of index.bgpPeersAt(port.id))
      if (peer.address === via && peer.bfd) {
        problem(`${describe(index, peer)} has BFD with ${via} already`, 'probe it by arp or ping');
        break;
      }
  if (type === 'arp') return;
  // Answers to the port's own address would be for those whose packets have it, too.
  const own = port.addresses.map((text) => text.slice(0, text.indexOf('/')));
  for (const address of own.filter((each) => each.includes(':') === via.includes(':')))
    for (const holder of index.addressHoldersOf(port.router, address)) {
      if (holder.kind === 'routerPort') continue;
      problem(
        `${address}, from which ${type === 'ping' ? 'it is pinged' : 'BFD is spoken'}, is also an address of ${describe(index, holder)}`,
        'probe it by arp, or give the translation an address of its own',
      );
      break;
    }
}
