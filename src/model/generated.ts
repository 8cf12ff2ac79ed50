import type { Ip } from '../base/addresses.ts';
import type { KindName } from './kind.ts';

/** What the builders of generated models share. */

const KINDS: readonly KindName[] = [
  ...(['tenant', 'tunnelZone', 'host', 'switch', 'chain', 'rule', 'port'] as const),
  ...(['securityGroup', 'addressSet', 'router', 'routerPort', 'floatingAddress', 'loadBalancer', 'mirror'] as const),
  'l2Gateway',
];

/** The id of the n-th object of a kind: the same in every run. */
export function generatedId(kind: KindName, n: number): string {
  return `0000000${(KINDS.indexOf(kind) + 1).toString(16)}-0000-4000-8000-${n.toString().padStart(12, '0')}`;
}

/** The element that an index of a sketch means. */
export function at<T>(list: readonly T[], index: number): T {
  return list[index % list.length]!;
}

export function plus(ip: Ip, n: number): Ip {
  return ip.version === 4
    ? { version: 4, value: (ip.value + n) as typeof ip.value }
    : { version: 6, value: (ip.value + BigInt(n)) as typeof ip.value };
}
