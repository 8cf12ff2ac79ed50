import { parseIpv4, parseIpv6 } from '../../base/addresses.ts';
import { type Action, type FieldRange, type FieldValue, type MultipathFields, type Nat, OFPP } from '../flow.ts';
import {
  GATEWAYS,
  HASH_FIELDS,
  LINK_ALGORITHMS,
  MEMBER_ALGORITHMS,
  REASON_ACTION,
  REASONS,
  WHOLE_PACKET,
} from './action-names.ts';
import { badText, type Item, parseHexBytes, parseNumber, splitItems } from './items.ts';
import { parsePort, parseTable } from './ports.ts';
import { parseRange } from './subfield.ts';

/** Reading of the actions that have arguments of their own making. */

const number = (item: Item, bits: number): number => parseNumber(item.value.trim(), bits, item.valueAt, item.key);

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** `CONTROLLER:128`, `controller`, `controller(reason=…,max_len=…,id=…,userdata=aa.bb,pause,meter_id=…)`. */
export function parseController(item: Item): Action {
  if (item.form === '' || item.value === '') return { kind: 'output', port: OFPP.controller };
  const out: Mutable<Extract<Action, { kind: 'controller' }>> = {
    kind: 'controller',
    maxLen: WHOLE_PACKET,
    reason: REASON_ACTION,
    controller: 0,
  };
  if (/^\d+$/.test(item.value)) out.maxLen = number(item, 16);
  else for (const part of splitItems(item.value, item.valueAt)) controllerArgument(out, part);
  const plain = out.reason === REASON_ACTION && out.controller === 0 && !out.pause && out.meter === undefined;
  if (!plain || out.userdata) return out;
  return out.maxLen === WHOLE_PACKET
    ? { kind: 'output', port: OFPP.controller }
    : { kind: 'output', port: OFPP.controller, maxLen: out.maxLen };
}

function controllerArgument(out: Mutable<Extract<Action, { kind: 'controller' }>>, part: Item): void {
  switch (part.key) {
    case 'reason': {
      const reason = REASONS.indexOf(part.value as (typeof REASONS)[number]);
      out.reason = reason >= 0 ? reason : parseNumber(part.value, 8, part.valueAt, 'reason');
      return;
    }
    case 'max_len':
      out.maxLen = number(part, 16);
      return;
    case 'id':
      out.controller = number(part, 16);
      return;
    case 'userdata':
      out.userdata = parseHexBytes(part.value, part.valueAt, 'userdata');
      return;
    case 'pause':
      out.pause = true;
      return;
    case 'meter_id':
      out.meter = number(part, 32);
      return;
    default:
      badText(part.at, 'controller', 'its arguments are reason, max_len, id, userdata, pause and meter_id');
  }
}

/** `parse` reads the list in `exec(…)`; handed in, as it needs this in turn. */
export function parseCt(item: Item, parse: (text: string, base: number) => Action[]): Action {
  const out: Mutable<Extract<Action, { kind: 'ct' }>> = { kind: 'ct' };
  if (item.form !== '(') badText(item.at, 'ct', 'write ct(…)');
  for (const part of splitItems(item.value, item.valueAt)) {
    if (part.key === 'commit') out.commit = true;
    else if (part.key === 'force') out.force = true;
    else if (part.key === 'table') out.table = parseTable(part.value, part.valueAt);
    else if (part.key === 'zone') Object.assign(out, zoneOf(part));
    else if (part.key === 'nat') out.nat = parseNat(part);
    else if (part.key === 'exec') out.exec = parse(part.value, part.valueAt);
    else if (part.key === 'alg') out.alg = GATEWAYS.find(([name]) => name === part.value)?.[1] ?? number(part, 16);
    else badText(part.at, 'ct', 'its arguments are commit, force, table, zone, nat, exec and alg');
  }
  if (out.force && !out.commit) badText(item.valueAt, 'ct', 'force goes with commit');
  return out;
}

function zoneOf(part: Item): { zone?: number | FieldRange } {
  if (!/^\d/.test(part.value)) return { zone: parseRange(part.value, part.valueAt, 'zone') };
  const zone = number(part, 16);
  return zone === 0 ? {} : { zone };
}

function parseNat(item: Item): Nat {
  let out: Mutable<Nat> = {};
  for (const part of splitItems(item.value, item.valueAt)) {
    if (part.key === 'src' || part.key === 'dst') {
      if (out.kind) badText(part.at, 'nat', 'either src or dst');
      out = { ...out, kind: part.key, ...(part.value === '' ? {} : natRange(part)) };
    } else if (part.key === 'persistent') out.persistent = true;
    else if (part.key === 'hash' || part.key === 'random') out.protocol = part.key;
    else badText(part.at, 'nat', 'its arguments are src, dst, persistent, hash and random');
  }
  if (!out.kind && Object.keys(out).length > 0) badText(item.valueAt, 'nat', 'say src or dst');
  return out;
}

const NAT_RANGE = /^(\[[^\]]*\]|[^[\]-]+?)(?:-(\[[^\]]*\]|[^[\]-]+?))?(?::(\d+)(?:-(\d+))?)?$/;

/** `10.0.0.1-10.0.0.9:1024-2047`, `[2001:db8::1]:80`, `2001:db8::1-2001:db8::9`. */
function natRange(part: Item): Partial<Nat> {
  const { value, valueAt } = part;
  const plain6 = /^[^[\]]*$/.test(value) && (value.match(/:/g)?.length ?? 0) > 1;
  const pieces = plain6 ? [value, ...value.split('-')] : (NAT_RANGE.exec(value) ?? []);
  const [, min, max, portMin, portMax] = pieces;
  const address = (text: string): FieldValue =>
    parseIpv4(text) ??
    parseIpv6(text.replace(/^\[|\]$/g, '')) ??
    badText(valueAt, 'nat', 'write ADDRESS-ADDRESS:PORT-PORT, IPv6 addresses in brackets');
  if (min === undefined) badText(valueAt, 'nat', 'write ADDRESS-ADDRESS:PORT-PORT');
  const [ipMin, ipMax] = [address(min), max === undefined ? undefined : address(max)];
  if (ipMax !== undefined && (typeof ipMax !== typeof ipMin || ipMax < ipMin))
    badText(valueAt, 'nat', 'the first address of the range comes first');
  const port = (text: string): number => parseNumber(text, 16, valueAt, 'nat');
  const [low, high] = [
    portMin === undefined ? undefined : port(portMin),
    portMax === undefined ? undefined : port(portMax),
  ];
  if (high !== undefined && high < low!) badText(valueAt, 'nat', 'the first port of the range comes first');
  return {
    ipMin,
    ...(ipMax === undefined ? {} : { ipMax }),
    ...(low === undefined ? {} : { portMin: low }),
    ...(high === undefined ? {} : { portMax: high }),
  };
}

const words = (item: Item): string[] => item.value.split(/[,\s]+/).filter((word) => word !== '');

function oneOf<T extends string>(text: string | undefined, from: readonly T[], item: Item): T {
  return from.find((name) => name === text) ?? badText(item.valueAt, item.key, `one of ${from.join(', ')} wanted`);
}

/** `multipath(fields,basis,algorithm,links,arg,destination)`. */
export function parseMultipath(item: Item): Action {
  const [fields, basis, algorithm, links, arg, dst, ...more] = words(item);
  if (dst === undefined || more.length > 0)
    badText(item.valueAt, 'multipath', 'write multipath(FIELDS,BASIS,ALGORITHM,LINKS,ARG,FIELD[])');
  const range = parseRange(dst, item.valueAt, 'multipath');
  const count = parseNumber(links!, 17, item.valueAt, 'links');
  if (count < 1 || count > 65536 || count > 2 ** range.bits)
    badText(item.valueAt, 'multipath', '1 to 65536 links wanted, and no more than the destination can tell apart');
  return {
    kind: 'multipath',
    fields: oneOf<MultipathFields>(fields, HASH_FIELDS, item),
    basis: parseNumber(basis!, 16, item.valueAt, 'basis'),
    algorithm: oneOf(algorithm, LINK_ALGORITHMS, item),
    links: count,
    arg: parseNumber(arg!, 32, item.valueAt, 'arg'),
    dst: range,
  };
}

/** `bundle(fields,basis,algorithm,ofport,members:1,2)`, `bundle_load(fields,basis,algorithm,ofport,destination,members:1,2)`. */
export function parseBundle(item: Item): Action {
  const form = /^(.*?)[,\s]*\b(?:members|slaves)[:\s(]+(.*?)\)?$/.exec(item.value);
  const loads = item.key === 'bundle_load';
  const [fields, basis, algorithm, type, dst, ...more] = form ? form[1]!.split(/[,\s]+/) : [];
  if (!form || type?.toLowerCase() !== 'ofport' || more.length > 0 || loads !== (dst !== undefined))
    badText(
      item.valueAt,
      item.key,
      `write ${item.key}(FIELDS,BASIS,ALGORITHM,ofport,${loads ? 'FIELD[],' : ''}members:1,2)`,
    );
  const members = form[2]!.split(/[,\s]+/).filter((word) => word !== '');
  return {
    kind: 'bundle',
    fields: oneOf<MultipathFields>(fields, HASH_FIELDS, item),
    basis: parseNumber(basis!, 16, item.valueAt, 'basis'),
    algorithm: oneOf(algorithm, MEMBER_ALGORITHMS, item),
    members: members.map((member) => parsePort(member, item.valueAt, item.key)),
    ...(dst === undefined ? {} : { dst: parseRange(dst, item.valueAt, item.key) }),
  };
}

export function parseSample(item: Item): Action {
  const out: Mutable<Extract<Action, { kind: 'sample' }>> = {
    kind: 'sample',
    probability: 0,
    collectorSet: 0,
    domain: 0,
    point: 0,
  };
  for (const part of splitItems(item.value, item.valueAt)) {
    if (part.key === 'probability') out.probability = number(part, 16);
    else if (part.key === 'collector_set_id') out.collectorSet = number(part, 32);
    else if (part.key === 'obs_domain_id') out.domain = number(part, 32);
    else if (part.key === 'obs_point_id') out.point = number(part, 32);
    else if (part.key === 'sampling_port') out.port = parsePort(part.value, part.valueAt, 'sample');
    else if (part.key === 'ingress') out.direction = 1;
    else if (part.key === 'egress') out.direction = 2;
    else
      badText(
        part.at,
        'sample',
        'its arguments are probability, collector_set_id, obs_domain_id, obs_point_id, sampling_port, ingress, egress',
      );
  }
  if (out.probability === 0) badText(item.valueAt, 'sample', 'probability=1 to 65535 must be given');
  return out;
}
