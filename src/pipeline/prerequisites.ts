import { type FieldName, fieldOf } from '../openflow/fields.ts';
import { placeOf, readBits } from './layout.ts';

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
