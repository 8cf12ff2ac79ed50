import {
  type Cidr,
  cidrContains,
  formatCidr,
  type Ip,
  linkLocalOf,
  networkOf,
  parseCidr,
  parseIp,
} from '../base/addresses.ts';
import type { Subnet } from '../model/objects.ts';
import { switchFacts } from './facts.ts';
import { define, peersIndex, portsOfRouterIndex } from './inputs.ts';
import { macOf } from './owned.ts';

/** What units ask about routers (docs/design/layer3.md, §6). */

/** Where a router port leads, with the keys that packets carry there. */
export type RouterLink =
  | { readonly to: 'switch'; readonly switch: string; readonly key: number; readonly adminUp: boolean }
  | { readonly to: 'router'; readonly router: number; readonly port: number; readonly mac: string };

/** Undefined for a port that joins nothing, or something that is not in our scope: no route leads there. */
export const linkOf = define.cell<RouterLink | undefined>({
  name: 'routerLink',
  run: (reader, id) => {
    const onSwitch = reader.pick('routerPort', id, 'switch');
    if (onSwitch !== undefined) {
      const facts = reader.derive(switchFacts, onSwitch);
      return facts && { to: 'switch', switch: onSwitch, key: facts.key, adminUp: facts.adminUp };
    }
    const peer = reader.pick('routerPort', id, 'peer') ?? reader.ids(peersIndex, id)[0];
    const port = peer === undefined ? undefined : reader.pick('routerPort', peer, 'key');
    const owner = port === undefined ? undefined : reader.pick('routerPort', peer!, 'router');
    const router = owner === undefined ? undefined : reader.pick('router', owner, 'key');
    if (router === undefined) return undefined;
    return { to: 'router', router, port: port!, mac: reader.pick('routerPort', peer!, 'mac')! };
  },
});

/** A network that a router port is in. */
export interface ConnectedNetwork {
  readonly network: Cidr;
  /** Key of the port. */
  readonly port: number;
  /** The switch that it leads to; absent where it leads to another router. */
  readonly switch?: string;
}

/** Networks of a router's ports that are up and lead somewhere, longest prefix first, each once: of ports that share one the first by id. */
export const connectedNetworks = define.cell<readonly ConnectedNetwork[]>({
  name: 'connectedNetworks',
  run: (reader, router) => {
    const found = new Map<string, ConnectedNetwork>();
    for (const id of reader.ids(portsOfRouterIndex, router)) {
      const link = reader.pick('routerPort', id, 'adminUp') ? reader.derive(linkOf, id) : undefined;
      if (link === undefined) continue;
      const place = link.to === 'switch' ? { switch: link.switch } : {};
      const port = reader.pick('routerPort', id, 'key')!;
      for (const text of reader.pick('routerPort', id, 'addresses')!) {
        const network = networkOf(parseCidr(text)!);
        const name = formatCidr(network);
        if (!found.has(name)) found.set(name, { network, port, ...place });
      }
    }
    return [...found.values()].sort((a, b) => b.network.prefix - a.network.prefix);
  },
});

/** The port through which a next hop is reached; undefined where no connected network holds it. */
export function portTowards(networks: readonly ConnectedNetwork[], hop: Ip): number | undefined {
  return networks.find(({ network }) => cidrContains(network, hop))?.port;
}

/** Addresses of a router port, its link-local one included, each once. */
export const ownAddresses = define.cell<readonly Ip[]>({
  name: 'ownAddresses',
  run: (reader, id) => {
    const own = reader.pick('routerPort', id, 'addresses')!.map((text) => ipOf(text)!);
    if (own.some(({ version }) => version === 6))
      own.push({ version: 6, value: linkLocalOf(macOf(reader.pick('routerPort', id, 'mac')!)) });
    return own.filter((ip, i) => own.findIndex(({ value }) => value === ip.value) === i);
  },
});

/** fe80::/10 (RFC 4291 §2.5.6). */
export function isLinkLocal({ version, value }: Ip): boolean {
  return version === 6 && value >> 118n === 0x3fan;
}

/** Does the router have a port that faces the outside? */
export const hasOutside = define.cell<boolean>({
  name: 'hasOutside',
  run: (reader, router) =>
    reader.ids(portsOfRouterIndex, router).some((id) => reader.pick('routerPort', id, 'outside') === true),
});

/** The VLAN that an address lives in on a VLAN-aware switch: that of its subnet, 0 for frames without a tag. */
export function vlanOf(ip: Ip | undefined, subnets: readonly Subnet[]): number {
  for (const { cidr, vlan } of subnets) {
    const network = parseCidr(cidr);
    if (ip !== undefined && network !== undefined && cidrContains(network, ip)) return vlan ?? 0;
  }
  return 0;
}

/** VLANs of a VLAN-aware switch in which a router port is: frames without a tag, and those of its subnets. Ascending. */
export const vlansOfRouterPort = define.cell<readonly number[]>({
  name: 'vlansOfRouterPort',
  run: (reader, id) => {
    const onSwitch = reader.pick('routerPort', id, 'switch');
    const subnets = (onSwitch === undefined ? undefined : reader.pick('switch', onSwitch, 'subnets')) ?? [];
    const vlans = reader.pick('routerPort', id, 'addresses')!.map((text) => vlanOf(ipOf(text), subnets));
    return [...new Set([0, ...vlans])].sort((a, b) => a - b);
  },
});

/** The address of `10.0.1.1/24`. */
function ipOf(text: string): Ip | undefined {
  return parseIp(text.slice(0, text.indexOf('/')));
}
