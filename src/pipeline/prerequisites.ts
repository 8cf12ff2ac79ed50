import { type FieldName, fieldOf } from '../openflow/fields.ts';
import { type Place, placeOf, readBits } from './layout.ts';

/**
 * Whether a packet has a field (`mf_are_prereqs_ok` of Open vSwitch): an action on a field that is not there does
 * nothing.
 */

interface Check {
  readonly place: ReturnType<typeof placeOf>;
  readonly values: readonly number[] | undefined;
}

const CHECKS = new Map<FieldName, readonly Check[]>();
const IP_FRAG = placeOf('ip_frag').word;
const VLAN_TCI = placeOf('vlan_tci').word;
const ICMP_CODE = placeOf('icmpv6_code').word;
const VLAN_PRESENT = 0x1000;
const LATER_FRAGMENT = 2;
const CT_STATE = placeOf('ct_state').word;
/** Bits of `ct_state`: new, established, reply. */
const OF_CONNECTION = 0x0b;
const CT_TUPLE = /^ct_(nw|ipv6|tp)_/;
const TRANSPORT = /^(tcp|udp|sctp|icmp|icmpv6)_|^nd_/;

function checksOf(name: FieldName): readonly Check[] {
  let checks = CHECKS.get(name);
  if (!checks) {
    checks = fieldOf(name)
      .prerequisites.filter(({ field }) => field !== 'vlan_vid' && field !== 'in_port')
      .map(({ field, values }) => ({ place: placeOf(field), values }));
    CHECKS.set(name, checks);
  }
  return checks;
}

/** Whether a field may be read: of an ICMP error about a connection the original direction is there, and yet not to be read (`is_ct_valid`). */
export function isReadable(key: Uint32Array, { header, name }: Pick<Place, 'header' | 'name'>): boolean {
  if (header) return hasField(key, name);
  return !CT_TUPLE.test(name) || (key[CT_STATE]! & OF_CONNECTION) !== 0;
}

export function hasField(key: Uint32Array, name: FieldName): boolean {
  const checks = checksOf(name);
  for (const { place, values } of checks) {
    const value = readBits(key, place, 0, Math.min(place.bits, 32));
    if (values ? !values.includes(value) : value === 0) return false;
  }
  if (checks.length > 1 && key[IP_FRAG]! & LATER_FRAGMENT && TRANSPORT.test(name)) return false;
  if (name === 'vlan_pcp') return (key[VLAN_TCI]! & VLAN_PRESENT) !== 0;
  return !name.startsWith('nd_') || key[ICMP_CODE] === 0;
}
