import { WeftError } from '../base/errors.ts';
import { unixctl } from '../ovsdb/unixctl.ts';

/** Passages through connection tracking that are worth a further question; a packet's way has fewer. */
const MOST_PASSAGES = 16;

/** Said where a flow asked for what Open vSwitch's trace leaves out, and it could not be told. */
const NOT_KNOWN =
  "note: this trace does not know the addresses that the connection began with (ct_nw_src, ct_nw_dst, ct_nw_proto), which security\n      groups look at: where it goes on after connection tracking, a drop in the groups' tables may be the trace's own, not the switch's\n";

/**
 * `ofproto/trace` (ovs-vswitchd(8)) of a packet that begins a connection. Open vSwitch leaves out what connection tracking tells where it
 * goes on after it. That a connection is translated is told to it in a next question; with which addresses it began, which flows of security groups
 * match on, cannot be: from where they do it is asked anew, with a packet that has them.
 */
export async function realTrace(control: string, bridge: string, flow: string, frame: string): Promise<string> {
  let text = await settled(control, 'ofproto/trace', [bridge, flow, frame]);
  for (let passages = 0; isBlind(text); passages++) {
    const paused = passages < MOST_PASSAGES ? beforeBlindness(text) : undefined;
    const rest = paused && (await onward(control, bridge, paused));
    if (rest === undefined) return `${text.trimEnd()}\n\n${NOT_KNOWN}`;
    text = `${paused!.told}${rest}`;
  }
  return text;
}

/** Undefined where Open vSwitch does not take what its own trace printed. */
function onward(control: string, bridge: string, { flow, table }: Paused): Promise<string | undefined> {
  return settled(control, 'ofproto/trace-packet-out', [bridge, flow, `resubmit(,${table})`]).catch((error) => {
    if (error instanceof WeftError) return undefined;
    throw error;
  });
}

/** Asks until what the trace says that it replaced is what it was told to assume. */
async function settled(control: string, method: string, params: readonly string[]): Promise<string> {
  let states: string[] = [];
  for (;;) {
    const assumed = states.flatMap((state) => ['--ct-next', state]);
    const [text = ''] = await unixctl(control, [[method, ...assumed, ...params]]);
    const found = trackedStates(text);
    const isKnown = found.every((state, i) => state === (states[i] ?? 'trk,new'));
    if (isKnown || found.length <= states.length || found.length > MOST_PASSAGES) return text;
    states = found;
  }
}

/** A trace up to where it meets a flow that asks for what it does not know, and the packet as it was then. */
export interface Paused {
  readonly told: string;
  /** With the connection's original addresses, in the words of a flow. */
  readonly flow: string;
  readonly table: number;
}

/** Undefined where the trace is not blind, or tells afterwards of other copies, which would be lost. */
export function beforeBlindness(text: string): Paused | undefined {
  const parts = text.split(/^(?=Flow: )/m);
  const blind = parts.findIndex(isBlind);
  if (blind < 1) return undefined;
  const told = parts.slice(0, blind).join('');
  const forks = [...told.matchAll(/ will be resumed at table (\d+)\.$/gm)];
  if (forks.length !== blind) return undefined;
  const table = forks.at(-1)?.[1];
  const passage = told.split(/^(?=recirc\()/m).at(-1)!;
  // A connection that begins has the addresses that its packet had before it was translated.
  const before = fieldsOf(/^ Initial flow: (.*)$/m.exec(passage)?.[1]);
  const flow = withOriginal(fieldsOf(/^Flow: (.*)$/m.exec(parts[blind]!)![1]), before);
  return table !== undefined && flow !== undefined ? { told, flow, table: Number(table) } : undefined;
}

/** By the words with which a trace names them: what they are in flows. */
const PROTOCOLS: { readonly [word: string]: { readonly number: number; readonly ports: string } } = {
  ...{ tcp: { number: 6, ports: 'tcp' }, tcp6: { number: 6, ports: 'tcp' } },
  ...{ udp: { number: 17, ports: 'udp' }, udp6: { number: 17, ports: 'udp' } },
  ...{ sctp: { number: 132, ports: 'sctp' }, sctp6: { number: 132, ports: 'sctp' } },
  ...{ icmp: { number: 1, ports: 'icmp' }, icmp6: { number: 58, ports: 'icmpv6' } },
};
/** A trace prints these, and takes them from nobody. */
const UNASKED: readonly string[] = ['recirc_id', 'eth', 'nw_frag'];

function withOriginal(fields: Map<string, string>, before: Map<string, string>): string | undefined {
  const word = [...fields.keys()].find((name) => PROTOCOLS[name]);
  if (word === undefined) return undefined;
  const first = new Map([...fields, ...before]);
  const { number, ports } = PROTOCOLS[word]!;
  const version = fields.has('nw_src') ? 'nw' : 'ipv6';
  const [srcPort, dstPort] = number === 1 || number === 58 ? ['type', 'code'] : ['src', 'dst'];
  const port = (end: string): string | undefined => first.get(`tp_${end}`) ?? first.get(`icmp_${end}`);
  const own = [...fields].flatMap(([name, value]) => {
    if (UNASKED.includes(name) || /^ct_(nw|ipv6|tp)_/.test(name)) return [];
    const renamed = name.replace(/^(tp|icmp)_(?=src|dst|type|code)/, `${ports}_`);
    return value === undefined ? [renamed] : [`${renamed}=${value}`];
  });
  const original = [
    `ct_nw_proto=${number}`,
    ...['src', 'dst'].map(
      (end) => `ct_${version}_${end}=${first.get(`${version}_${end}`)?.replace(/^\[(.*)\]$/, '$1')}`,
    ),
    ...[port(srcPort!) ?? '0', port(dstPort!) ?? '0'].map((value, i) => `ct_tp_${i === 0 ? 'src' : 'dst'}=${value}`),
  ];
  return [...own, ...original].join(',');
}

/** What each passage through connection tracking makes of a new connection, as `--ct-next` takes it. */
export function trackedStates(text: string): string[] {
  const passages = text.split(/^recirc\(\w+\) - resume conntrack with .*$/m).slice(1);
  return passages.map((passage) => {
    const [head = ''] = passage.split(/^={5,}$/m, 1);
    const before = fieldsOf(/^ Initial flow: (.*)$/m.exec(head)?.[1]);
    const after = fieldsOf(/^ Modified flow: (.*)$/m.exec(head)?.[1]);
    const isOther = (end: RegExp): boolean =>
      [...after].some(([name, value]) => end.test(name) && before.get(name) !== value);
    return ['trk', 'new', ...(isOther(/src$/) ? ['snat'] : []), ...(isOther(/dst$/) ? ['dnat'] : [])].join(',');
  });
}

/**
 * A flow matched on the connection's first addresses, and they were empty; or what was asked anew went through connection tracking again,
 * where Open vSwitch's trace of a packet that a controller sends breaks off.
 */
function isBlind(text: string): boolean {
  return (
    /^Megaflow: .*\bct_(nw_proto=0|(nw|ipv6)_(src|dst)=(0\.0\.0\.0|::))(?![\w:./])/m.test(text) ||
    text.includes('>>>> Recirculation conflict (actions)')
  );
}

function fieldsOf(text = ''): Map<string, string> {
  return new Map(text.split(',').map((field) => field.split('=', 2) as [string, string]));
}
