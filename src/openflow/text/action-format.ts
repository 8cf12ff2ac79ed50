import { formatIpv4, formatIpv6 } from '../../base/addresses.ts';
import { unreachable } from '../../base/errors.ts';
import { fieldOf } from '../fields.ts';
import { type Action, type FieldRange, type LearnSpec, type Nat, OFPP } from '../flow.ts';
import {
  DEFAULT_PRIORITY,
  GATEWAYS,
  LEARN_FLAGS,
  REASON_ACTION,
  REASONS,
  WHOLE_PACKET,
  WORDS,
} from './action-names.ts';
import { formatHexBytes, hex, hex0 } from './items.ts';
import { formatPort } from './ports.ts';
import { formatRange, printedName } from './subfield.ts';
import { formatValue } from './values.ts';

/** An action list as `ovs-ofctl` prints it, comma separated; `drop` for none. */
export function formatActions(actions: readonly Action[]): string {
  return actions.length === 0 ? 'drop' : actions.map(formatAction).join(',');
}

export function formatAction(action: Action): string {
  switch (action.kind) {
    case 'output':
      if (action.port === OFPP.controller) return `CONTROLLER:${action.maxLen ?? WHOLE_PACKET}`;
      return action.port < OFPP.max ? `output:${action.port}` : formatPort(action.port);
    case 'outputReg':
      return `output:${formatRange(action.src)}`;
    case 'outputTrunc':
      return `output(port=${formatPort(action.port)},max_len=${action.maxLen})`;
    case 'group':
      return `group:${action.group}`;
    case 'meter':
      return `meter:${action.meter}`;
    case 'setQueue':
      return `set_queue:${action.queue}`;
    case 'enqueue':
      return `enqueue:${formatPort(action.port)}:${action.queue}`;
    case 'setField': {
      const field = fieldOf(action.field);
      return `set_field:${formatValue(field, action.value, action.mask)}->${printedName(field)}`;
    }
    case 'load':
      return `load:${hex(action.value)}->${formatRange(action.dst)}`;
    case 'move':
      return `move:${formatRange(action.src)}->${formatRange(action.dst)}`;
    case 'push':
    case 'pop':
      return `${action.kind}:${formatRange(action.range)}`;
    case 'pushVlan':
      return `push_vlan:${hex(action.etherType)}`;
    case 'setVlanVid':
      return `mod_vlan_vid:${action.vid}`;
    case 'setVlanPcp':
      return `mod_vlan_pcp:${action.pcp}`;
    case 'pushMpls':
      return `push_mpls:${hex0(action.etherType, 4)}`;
    case 'popMpls':
      return `pop_mpls:${hex0(action.etherType, 4)}`;
    case 'pushPbb':
      return `push_pbb:${hex0(action.etherType, 4)}`;
    case 'setMplsTtl':
      return `set_mpls_ttl(${action.ttl})`;
    case 'setNwTtl':
      return `mod_nw_ttl:${action.ttl}`;
    case 'decTtl':
      return action.controllers ? `dec_ttl(${action.controllers.join(',')})` : 'dec_ttl';
    case 'setTunnel':
      return `set_tunnel${action.wide || action.id > 0xffff_ffffn ? '64' : ''}:${hex(action.id)}`;
    case 'conjunction':
      return `conjunction(${action.id},${action.clause}/${action.of})`;
    case 'clone':
      return `clone(${formatActions(action.actions)})`;
    case 'checkPktLarger':
      return `check_pkt_larger(${action.length})->${formatRange(action.dst)}`;
    case 'note':
      return `note:${formatHexBytes(action.bytes)}`;
    case 'deleteField':
      return `delete_field:${printedName(fieldOf(action.field))}`;
    case 'encap':
    case 'decap':
    case 'unknown':
      return `unknown(${formatHexBytes(action.bytes, '')})`;
    case 'resubmit':
    case 'multipath':
    case 'bundle':
    case 'learn':
    case 'controller':
    case 'ct':
    case 'fin':
    case 'sample':
      return formatCall(action);
    default:
      return WORDS[action.kind] ?? unreachable(action.kind as never);
  }
}

type Call = Extract<
  Action,
  { kind: 'resubmit' | 'multipath' | 'bundle' | 'learn' | 'controller' | 'ct' | 'fin' | 'sample' }
>;

/** Actions with arguments of their own making. */
function formatCall(action: Call): string {
  switch (action.kind) {
    case 'resubmit':
      return formatResubmit(action);
    case 'multipath': {
      const { fields, basis, algorithm, links, arg, dst } = action;
      return `multipath(${fields},${basis},${algorithm},${links},${arg},${formatRange(dst)})`;
    }
    case 'bundle': {
      const { fields, basis, algorithm, members, dst } = action;
      const target = dst ? `${formatRange(dst)},` : '';
      const list = members.map(formatPort).join(',');
      return `bundle${dst ? '_load' : ''}(${fields},${basis},${algorithm},ofport,${target}members:${list})`;
    }
    case 'learn':
      return formatLearn(action);
    case 'controller':
      return formatController(action);
    case 'ct':
      return formatCt(action);
    case 'fin': {
      const idle = action.idleTimeout ? [`idle_timeout=${action.idleTimeout}`] : [];
      const hard = action.hardTimeout ? [`hard_timeout=${action.hardTimeout}`] : [];
      return `fin_timeout(${[...idle, ...hard].join(',')})`;
    }
    case 'sample':
      return formatSample(action);
  }
}

function formatResubmit({ port, table, ct }: Extract<Action, { kind: 'resubmit' }>): string {
  if (port !== undefined && table === undefined) return `resubmit:${formatPort(port)}`;
  return `resubmit(${port === undefined ? '' : formatPort(port)},${table ?? ''}${ct ? ',ct' : ''})`;
}

function formatController(a: Extract<Action, { kind: 'controller' }>): string {
  const plain = a.reason === REASON_ACTION && a.controller === 0 && !a.pause && a.meter === undefined;
  if (plain && !a.userdata?.length) return `CONTROLLER:${a.maxLen}`;
  const out: string[] = [];
  if (a.reason !== REASON_ACTION) out.push(`reason=${REASONS[a.reason] ?? a.reason}`);
  if (a.maxLen !== WHOLE_PACKET) out.push(`max_len=${a.maxLen}`);
  if (a.controller !== 0) out.push(`id=${a.controller}`);
  if (a.userdata?.length) out.push(`userdata=${formatHexBytes(a.userdata)}`);
  if (a.pause) out.push('pause');
  if (a.meter !== undefined) out.push(`meter_id=${a.meter}`);
  return `controller(${out.join(',')})`;
}

function formatCt(a: Extract<Action, { kind: 'ct' }>): string {
  const out: string[] = [];
  if (a.commit) out.push('commit');
  if (a.force) out.push('force');
  if (a.table !== undefined) out.push(`table=${a.table}`);
  if (typeof a.zone === 'object') out.push(`zone=${formatRange(a.zone)}`);
  else if (a.zone) out.push(`zone=${a.zone}`);
  if (a.nat) out.push(formatNat(a.nat));
  if (a.exec && a.exec.length > 0) out.push(`exec(${formatActions(a.exec)})`);
  if (a.alg) out.push(`alg=${GATEWAYS.find(([, port]) => port === a.alg)?.[0] ?? a.alg}`);
  return `ct(${out.join(',')})`;
}

function formatNat(nat: Nat): string {
  if (!nat.kind) return 'nat';
  const out = [nat.kind as string];
  if (nat.ipMin !== undefined) {
    const ports = nat.portMin ? `:${nat.portMin}${range(nat.portMin, nat.portMax, String)}` : '';
    const format = (ip: number | bigint): string =>
      typeof ip === 'number' ? formatIpv4(ip) : ports ? `[${formatIpv6(ip)}]` : formatIpv6(ip);
    out[0] = `${nat.kind}=${format(nat.ipMin)}${range(nat.ipMin, nat.ipMax, format)}${ports}`;
  }
  if (nat.persistent) out.push('persistent');
  if (nat.protocol) out.push(nat.protocol);
  return `nat(${out.join(',')})`;
}

function range<T>(min: T, max: T | undefined, format: (value: T) => string): string {
  return max === undefined || max === min ? '' : `-${format(max)}`;
}

function formatLearn(a: Extract<Action, { kind: 'learn' }>): string {
  const out = [`table=${a.table}`];
  if (a.idleTimeout) out.push(`idle_timeout=${a.idleTimeout}`);
  if (a.hardTimeout) out.push(`hard_timeout=${a.hardTimeout}`);
  if (a.finIdleTimeout) out.push(`fin_idle_timeout=${a.finIdleTimeout}`);
  if (a.finHardTimeout) out.push(`fin_hard_timeout=${a.finHardTimeout}`);
  if (a.priority !== DEFAULT_PRIORITY) out.push(`priority=${a.priority}`);
  for (const [name, bit] of LEARN_FLAGS) if (a.flags & bit) out.push(name);
  if (a.cookie !== 0n) out.push(`cookie=${hex(a.cookie)}`);
  if (a.limit) out.push(`limit=${a.limit}`);
  if (a.result) out.push(`result_dst=${formatRange(a.result)}`);
  for (const spec of a.specs) out.push(formatSpec(spec));
  return `learn(${out.join(',')})`;
}

function formatSpec({ kind, src, dst }: LearnSpec): string {
  if (kind === 'output') return `output:${'value' in src ? hex(src.value) : formatRange(src)}`;
  const target = dst!;
  if (kind === 'load') return `load:${'value' in src ? immediate(src) : formatRange(src)}->${formatRange(target)}`;
  const field = fieldOf(target.field);
  if ('value' in src) {
    const whole = target.from === 0 && target.bits === field.bits;
    return whole
      ? `${printedName(field)}=${formatValue(field, field.bits <= 48 ? Number(src.value) : src.value)}`
      : `${formatRange(target)}=${immediate(src)}`;
  }
  return sameBits(src, target) ? formatRange(target) : `${formatRange(target)}=${formatRange(src)}`;
}

const immediate = (src: { readonly value: bigint }): string => hex(src.value);

function sameBits(a: FieldRange, b: FieldRange): boolean {
  return a.field === b.field && a.from === b.from;
}

function formatSample(a: Extract<Action, { kind: 'sample' }>): string {
  const out = [
    `probability=${a.probability}`,
    `collector_set_id=${a.collectorSet}`,
    `obs_domain_id=${a.domain}`,
    `obs_point_id=${a.point}`,
  ];
  if (a.port !== undefined && a.port !== OFPP.any) out.push(`sampling_port=${formatPort(a.port)}`);
  if (a.direction) out.push(a.direction === 1 ? 'ingress' : 'egress');
  return `sample(${out.join(',')})`;
}
