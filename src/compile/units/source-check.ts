import { type Cidr, formatCidr, formatIp, networkOf, parseCidr, parseIp } from '../../base/addresses.ts';
import type { Contribution } from '../../incremental/definitions.ts';
import type { Action, Match } from '../../openflow/flow.ts';
import { IPV4, IPV6, load, match, move, NEXT_HOP, NEXT_HOP_4, REGISTERS } from '../fields.ts';
import { type FlowTarget, flow } from '../flow-sink.ts';
import { bgpPeersIndex, define, portsOfRouterIndex, type Reader } from '../inputs.ts';
import { connectedNetworks, ownAddresses, portTowards } from '../routers.ts';
import { TABLES } from '../tables.ts';
import { from, fromAddress } from '../translation.ts';

/**
 * Which sources may come in by a router port that a wire leads to (docs/design/gateways.md, §8). No flow per route: for `loose` and `strict` the
 * packet turns round for a moment, and the routes are asked where it would go then.
 *
 *   routerIn ─▶ sourceCheck ─┬─(own)──────────────────────────────────▶ inChain
 *                            └─ source ⇄ destination, route, and back ─▶ reversed ─▶ inChain
 */
const CHECK = { ours: 60_000, onLink: 50_000, bogon: 40_000, network: 100 } as const;
const REVERSED = { special: 100, rest: 50 } as const;
/** In `outChain`, where every route ends. */
const REVERSE_ENDS = 1000;

type SourceCheck = 'off' | 'own' | 'loose' | 'strict';

/** What is asked of sources at a router port. */
export const sourceCheckOf = define.cell<SourceCheck>({
  name: 'sourceCheck',
  run: (reader, id) => {
    if (reader.pick('routerPort', id, 'outside') || reader.pick('routerPort', id, 'switch') === undefined) return 'off';
    const wanted = reader.pick('routerPort', id, 'sourceCheck');
    return wanted ?? (reader.ids(bgpPeersIndex, id).length > 0 ? 'own' : 'off');
  },
});

/** Nobody sends from these (RFC 6890, RFC 4291 §2.5): this network, loopback, link-local, multicast, reserved; unspecified, loopback, IPv4-mapped, link-local, multicast. */
const BOGONS: readonly Cidr[] = [
  ...['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4', '240.0.0.0/4'],
  ...['::/127', '::ffff:0:0/96', 'fe80::/10', 'ff00::/8'],
].map((text) => parseCidr(text)!);

const LINK_LOCAL = parseCidr('fe80::/10')!;

export const sourceCheckUnit = define.unit({
  name: 'sourceCheck',
  over: 'routerPort',
  run(reader, id): readonly Contribution[] {
    const check = reader.derive(sourceCheckOf, id);
    if (check === 'off') return [];
    const routerPort = reader.pick('routerPort', id, 'key')!;
    const router = reader.pick('routerPort', id, 'router')!;
    const said = (priority: number, source: Match, target: FlowTarget): Contribution =>
      flow('sourceCheck', priority, match({ routerPort }, source), target);
    const own = reader.ids(portsOfRouterIndex, router).flatMap((port) => reader.derive(ownAddresses, port));
    const onLink = new Map(
      reader.pick('routerPort', id, 'addresses')!.map((text) => [networkText(text), parseCidr(text)!]),
    );
    const linkLocal = reader.derive(ownAddresses, id).filter(({ version }) => version === 6);
    const rest = (version: 4 | 6): FlowTarget => (check === 'own' ? PASS : { do: turnedRound(version) });
    return [
      ...new Map(own.map((ip) => [formatIp(ip), said(CHECK.ours, fromAddress(ip), DROP)])).values(),
      ...[...onLink.values()].map((network) => said(CHECK.onLink, from(network), PASS)),
      // A neighbour talks to the router itself from such an address; a router sends none of it on (RFC 4291 §2.5.6).
      ...linkLocal.map(({ value }) => said(CHECK.onLink, { ...from(LINK_LOCAL), ipv6_dst: value }, PASS)),
      ...BOGONS.map((network) => said(CHECK.bogon, from(network), DROP)),
      ...knownNetworks(reader, router, id).map(({ network, isOurs }) =>
        said(CHECK.network + network.prefix, from(network), isOurs ? DROP : rest(network.ip.version)),
      ),
      ...[IPV4, IPV6].map((ip, i) => said(0, ip, rest(i === 0 ? 4 : 6))),
      ...(check === 'own' ? [] : decided(check, routerPort)),
    ];
  },
});

const PASS = { goto: 'inChain' } as const;
const DROP = { drop: 'source-check' } as const;

function networkText(text: string): string {
  return formatCidr(networkOf(parseCidr(text)!));
}

/**
 * Networks that connected and static routes lead to, but for what leads everywhere. They are ours where none leads by a port whose sources are
 * checked: nobody outside has such an address.
 */
function knownNetworks(
  reader: Reader,
  router: string,
  id: string,
): { readonly network: Cidr; readonly isOurs: boolean }[] {
  const wires = new Set(
    reader
      .ids(portsOfRouterIndex, router)
      .filter((port) => port === id || isChecked(reader, port))
      .map((port) => reader.pick('routerPort', port, 'key')!),
  );
  const networks = reader.derive(connectedNetworks, router);
  const known = new Map<string, { network: Cidr; isOurs: boolean }>();
  for (const { network, port } of networks) known.set(formatCidr(network), { network, isOurs: !wires.has(port) });
  const connected = new Set(known.keys());
  for (const { to, from, via } of reader.pick('router', router, 'routes') ?? []) {
    const network = parseCidr(to)!;
    if (from !== undefined || network.prefix === 0 || connected.has(to)) continue;
    const port = via === undefined ? undefined : portTowards(networks, parseIp(via)!);
    if (via !== undefined && port === undefined) continue;
    const isOurs = (known.get(to)?.isOurs ?? true) && (port === undefined || !wires.has(port));
    known.set(to, { network, isOurs });
  }
  return [...known.values()];
}

/** By what is written at the port: who its peers are is known at its gateway alone. */
function isChecked(reader: Reader, port: string): boolean {
  const check = reader.pick('routerPort', port, 'sourceCheck') ?? 'off';
  return check !== 'off' && !reader.pick('routerPort', port, 'outside');
}

/** Asks the routes for the way back: afterwards `routerPort` is the port that it leads by, 0 where there is none. */
function turnedRound(version: 4 | 6): Action[] {
  const [src, dst, aside] =
    version === 4 ? (['ip_src', 'ip_dst', NEXT_HOP_4] as const) : (['ipv6_src', 'ipv6_dst', NEXT_HOP] as const);
  const whole = { from: 0, bits: version === 4 ? 32 : 128 };
  const swap = [
    move({ field: src, ...whole }, aside),
    move({ field: dst, ...whole }, { field: src, ...whole }),
    move(aside, { field: dst, ...whole }),
  ];
  return [
    ...swap,
    ...load({ reverse: 1, routerPort: 0 }),
    { kind: 'resubmit', table: TABLES.route.number },
    ...load({ reverse: 0 }),
    ...swap,
    { kind: 'resubmit', table: TABLES.reversed.number },
  ];
}

function decided(check: 'loose' | 'strict', port: number): Contribution[] {
  const back = { do: [move(REGISTERS.enteredBy, REGISTERS.routerPort)], goto: 'inChain' } as const;
  const [fits, others] = check === 'strict' ? ([port, DROP] as const) : ([0, back] as const);
  return [
    flow('reversed', REVERSED.special, match({ enteredBy: port, routerPort: fits }), check === 'strict' ? back : DROP),
    flow('reversed', REVERSED.rest, match({ enteredBy: port }), others),
    // Shared by all that ask: where the routes end, and where they lead nowhere.
    flow('outChain', REVERSE_ENDS, match({ reverse: 1 }), {}),
    flow('route', 0, match({ reverse: 1 }), {}),
  ];
}
