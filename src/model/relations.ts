import type {
  AddressSet,
  AnyObject,
  Chain,
  FloatingAddress,
  KeptClients,
  LearnedRoutes,
  LearnedSet,
  LoadBalancer,
  LogicalPort,
  LogicalSwitch,
  MemberHealth,
  Mirror,
  NatLease,
  NatMove,
  Neighbour,
  NextHopState,
  Router,
  RouterPort,
  ScopeRecord,
  SecurityGroup,
} from './objects.ts';
import { snatAddresses } from './snat.ts';

/** Records that no person writes. */
export const RUNTIME_KINDS = [
  ...(['binding', 'learned', 'natLease', 'natMove', 'memberHealth', 'keptClients', 'neighbour'] as const),
  ...(['learnedSet', 'learnedRoutes', 'nextHopState'] as const),
] as const;

/** Kinds whose objects carry a key; all share one space. */
export type KeyedObject =
  | LogicalSwitch
  | LogicalPort
  | Chain
  | Router
  | RouterPort
  | SecurityGroup
  | AddressSet
  | LoadBalancer
  | Mirror;
const KEYED: ReadonlySet<string> = new Set<string>([
  ...['switch', 'port', 'chain', 'router', 'routerPort', 'securityGroup', 'addressSet', 'loadBalancer', 'mirror'],
]);

export function isKeyed(record: ScopeRecord): record is KeyedObject {
  return KEYED.has(record.kind);
}

/** What has addresses beside ports: interface addresses, translated ones, virtual ones. */
export type AddressHolder = RouterPort | FloatingAddress | LoadBalancer | Router;

/** Under which devices (undefined: under none) each address of a record is found. */
export function* placesOfAddresses(
  record: ScopeRecord,
): Iterable<readonly [device: string | undefined, address: string]> {
  switch (record.kind) {
    case 'routerPort':
      for (const text of record.addresses) {
        const address = text.slice(0, text.indexOf('/'));
        yield [undefined, address];
        yield [record.router, address];
        if (record.switch !== undefined) yield [record.switch, address];
      }
      return;
    case 'router':
      for (const to of snatAddresses(record)) {
        yield [undefined, to];
        yield [record.id, to];
      }
      return;
    case 'floatingAddress':
      yield [undefined, record.address];
      yield [record.router, record.address];
      return;
    case 'loadBalancer':
      yield [undefined, record.address];
      yield [(record.router ?? record.switch)!, record.address];
  }
}

/** What a device or group holds, apart from the ports of a switch and the rules of a chain: relation and container. */
export function* heldBy(record: ScopeRecord): Iterable<readonly [Relation, string]> {
  switch (record.kind) {
    case 'port':
      for (const group of record.groups ?? []) yield ['portOfGroup', group];
      return;
    case 'routerPort':
      yield ['portOfRouter', record.router];
      if (record.switch !== undefined) yield ['routerPortOfSwitch', record.switch];
      if (record.peer !== undefined) yield ['peer', record.peer];
      return;
    case 'floatingAddress':
      yield ['floatingAddress', record.router];
      return;
    case 'loadBalancer':
      yield ['loadBalancer', (record.router ?? record.switch)!];
      return;
    case 'mirror':
      for (const id of mirrorPlaces(record)) yield ['mirror', id];
      return;
    case 'natLease':
      yield ['natLease', record.router];
      return;
    case 'natMove':
      yield ['natMove', record.router];
      yield ['natMoveOfPort', record.port];
      return;
    case 'memberHealth':
      yield ['memberHealth', record.loadBalancer];
      return;
    case 'keptClients':
      yield ['keptClients', record.loadBalancer];
      return;
    case 'neighbour':
      yield ['neighbour', record.switch];
      return;
    case 'nextHopState':
      yield ['nextHopState', record.router];
      return;
    case 'bgpPeer':
      yield ['bgpPeerOfRouter', record.router];
      yield ['bgpPeerAt', record.routerPort];
      return;
    case 'l2Gateway':
      yield ['outsideOfPort', record.port];
      for (const host of new Set(record.places.map((place) => place.host))) yield ['l2GatewayAt', host];
      return;
    case 'vtep':
      for (const host of new Set(record.places.map((place) => place.host))) yield ['vtepAt', host];
      return;
    case 'vtepBinding':
      yield ['outsideOfPort', record.port];
      yield ['bindingOfVtep', record.vtep];
      return;
  }
}

/** Ports and the switch that a mirror names, each once. */
export function mirrorPlaces({ ports, switch: onSwitch, to }: Mirror): ReadonlySet<string> {
  return new Set([
    ...ports,
    ...(onSwitch === undefined ? [] : [onSwitch]),
    ...(to.port === undefined ? [] : [to.port]),
  ]);
}

export type Relation =
  | 'portOfGroup'
  | 'portOfRouter'
  | 'routerPortOfSwitch'
  | 'peer'
  | 'floatingAddress'
  | 'loadBalancer'
  | 'mirror'
  | 'natLease'
  | 'natMove'
  | 'natMoveOfPort'
  | 'memberHealth'
  | 'keptClients'
  | 'neighbour'
  | 'nextHopState'
  | 'bgpPeerOfRouter'
  | 'bgpPeerAt'
  | 'outsideOfPort'
  | 'l2GatewayAt'
  | 'vtepAt'
  | 'bindingOfVtep';

type HeldOnly = NatLease | NatMove | MemberHealth | KeptClients | Neighbour | LearnedSet | LearnedRoutes | NextHopState;
const HELD_ONLY: ReadonlySet<string> = new Set<HeldOnly['kind']>([
  ...([
    'natLease',
    'natMove',
    'memberHealth',
    'keptClients',
    'neighbour',
    'learnedSet',
    'learnedRoutes',
    'nextHopState',
  ] as const),
]);
/** Found by what holds it, and by nothing else. */
export function isHeldOnly(record: ScopeRecord): record is HeldOnly {
  return HELD_ONLY.has(record.kind);
}

/** Is it something that people write (and no runtime record)? */
export function isObject(record: ScopeRecord): record is AnyObject {
  return !(RUNTIME_KINDS as readonly string[]).includes(record.kind);
}

/** What an object's name is unique within: its tenant, for rules their chain, for router ports and BGP peers their router, for operator's kinds all of the kind. */
export function nameScopeOf(object: AnyObject): string | undefined {
  if (object.kind === 'rule') return object.chain;
  return object.kind === 'routerPort' || object.kind === 'bgpPeer' ? object.router : object.tenant;
}
