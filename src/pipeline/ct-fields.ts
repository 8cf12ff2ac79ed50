import { placeOf } from './layout.ts';

const CT_FIELDS = (
  [
    'ct_state',
    'ct_zone',
    'ct_mark',
    'ct_label',
    'ct_nw_proto',
    'ct_nw_src',
    'ct_nw_dst',
    'ct_ipv6_src',
    'ct_ipv6_dst',
    'ct_tp_src',
    'ct_tp_dst',
  ] as const
).flatMap((name) => {
  const { word, words } = placeOf(name);
  return Array.from({ length: words }, (_, i) => word + i);
});

/** Makes a packet untracked. */
export function clearTracking(key: Uint32Array): void {
  for (const word of CT_FIELDS) key[word] = 0;
}

const TUPLE: readonly (readonly [number, number])[] = (
  [
    ['ip_proto', 'ct_nw_proto'],
    ['ip_src', 'ct_nw_src'],
    ['ip_dst', 'ct_nw_dst'],
    ['ipv6_src', 'ct_ipv6_src'],
    ['ipv6_dst', 'ct_ipv6_dst'],
    ['tcp_src', 'ct_tp_src'],
    ['tcp_dst', 'ct_tp_dst'],
  ] as const
).flatMap(([a, b]) =>
  Array.from({ length: placeOf(a).words }, (_, i) => [placeOf(a).word + i, placeOf(b).word + i] as const),
);

/** `resubmit(…,ct)` looks up with the connection's original addresses and ports in place of the packet's. */
export function swapTuple(key: Uint32Array): void {
  for (const [a, b] of TUPLE) [key[a], key[b]] = [key[b]!, key[a]!];
}
