import type { Contribution } from '../../incremental/definitions.ts';
import type { FieldValue, Masked, Match } from '../../openflow/flow.ts';
import { narrow, otherBits, placeOf, prefixMatch } from '../bits.ts';
import { sample, switchFacts } from '../facts.ts';
import { ARP, IPV4, IPV6, match, ND, neighbor, scratchMac } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, type Reader } from '../inputs.ts';
import { fixedAddresses, type Owned, ownedBy } from '../owned.ts';

/**
 * What a port with port security may say (step 3). Allowed pairs come first, exceptions below them, then the drop of the
 * rest: frames that are allowed never meet a match that would narrow their megaflow. `wide…` stand above for the opposite: foreign
 * addresses are mostly dropped by one bit (bits.ts). IP sources need none: Open vSwitch narrows those by prefix (`Table.prefixes`).
 */
export const GUARD = {
  /** What comes by a wire for its router port's daemon, of its peers and of others (speaker.ts). */
  peer: 710,
  stranger: 700,
  /** Plus the bit's place. `0.0.0.0` passes. */
  wideAddress: 600,
  probe: 550,
  wideHardware: 500,
  owned: 400,
  exception: 300,
  spoofed: 100,
} as const;
export const SERVICE = { wide: 600, absent: 400, present: 300, forbidden: 300, unread: 200 } as const;
export const LINK_LAYER = { owned: 400, spoofed: 100 } as const;
export const ND_TARGET = { solicit: 500, wide: 300, owned: 200, spoofed: 100 } as const;

/**
 * How many bits of an ND target the flows look at that keep drops wide: all but 1 of 16. A port that goes on is shut off within a second anyway, and with
 * more bits a port's flows would not fit into the 50 messages that Open vSwitch takes from a connection in one go.
 */
export const WIDE_BITS = 4;

export const guardUnit = define.unit({
  name: 'guard',
  over: 'interface',
  run(reader, id) {
    const port = reader.get('port', id);
    const onSwitch = port && reader.derive(switchFacts, port.switch);
    if (port === undefined || onSwitch === undefined || !port.portSecurity) return [];
    const owned = ownedBy(port, onSwitch);
    const from = match({ inPort: port.key });
    return [...addresses(owned, from), ...(speaksNd(owned) ? neighbours(reader, port.key, owned) : [])];
  },
});

/** Without an IPv6 address of its own nothing of a port's ND comes so far: its source is foreign. */
function speaksNd(owned: Owned): boolean {
  return owned.everything || owned.pairs.some(({ cidr }) => cidr.ip.version === 6);
}

function neighbours(reader: Reader, inPort: number, owned: Owned): Contribution[] {
  const from = match({ inPort });
  return [
    ...owned.macs.map((mac) =>
      flow('linkLayer', LINK_LAYER.owned, match({ inPort, ...scratchMac(mac) }), { goto: 'ndTarget' }),
    ),
    ...targets(owned, from),
    ...wideTargets(reader, owned, from),
  ];
}

function addresses(owned: Owned, from: Match): Contribution[] {
  const flows: Contribution[] = [];
  const allow = (mac: number, kind: Match, field: 'ip_src' | 'ipv6_src' | 'arp_spa', value: AddressMatch): void => {
    const hardware: Match = field === 'arp_spa' ? { eth_src: mac, arp_sha: mac } : { eth_src: mac };
    const address: Match = value === undefined ? {} : { [field]: value };
    flows.push(
      flow(
        'guard',
        GUARD.owned,
        { ...from, ...kind, ...hardware, ...address },
        {
          goto: field === 'arp_spa' ? 'vip' : 'service',
        },
      ),
    );
  };
  if (owned.everything) {
    allow(owned.macs[0]!, IPV4, 'ip_src', undefined);
    allow(owned.macs[0]!, IPV6, 'ipv6_src', undefined);
    allow(owned.macs[0]!, ARP, 'arp_spa', undefined);
  }
  for (const { mac, cidr } of owned.pairs) {
    const { ip, prefix } = cidr;
    if (ip.version === 4) {
      const value = prefixMatch(ip.value, prefix, 32);
      allow(mac, IPV4, 'ip_src', value);
      allow(mac, ARP, 'arp_spa', value);
    } else allow(mac, IPV6, 'ipv6_src', prefixMatch(ip.value, prefix, 128));
  }
  return flows;
}

type AddressMatch = FieldValue | Masked | undefined;

function targets(owned: Owned, from: Match): Contribution[] {
  const about = (address: Match): Contribution =>
    flow('ndTarget', ND_TARGET.owned, { ...from, ...neighbor(ND.advert), ...address }, { goto: 'vip' });
  if (owned.everything) return [about({})];
  return owned.pairs.flatMap(({ cidr: { ip, prefix } }) => {
    if (ip.version === 4) return [];
    const target = prefixMatch(ip.value, prefix, 128);
    return [about(target === undefined ? {} : { nd_target: target })];
  });
}

/**
 * The interface id is what differs between neighbours; the network's bits are common to all, but not those of the addresses of one port
 * and another: so these are per port.
 */
function wideTargets(reader: Reader, owned: Owned, from: Match): Contribution[] {
  return otherBits(fixedAddresses(owned, 6), 64, WIDE_BITS).map((bit) =>
    flow(
      'ndTarget',
      ND_TARGET.wide + placeOf(bit),
      { ...from, ...neighbor(ND.advert), nd_target: narrow(bit) },
      { do: sample(reader), drop: 'spoofed-nd' },
    ),
  );
}
