import { unixctl } from '../ovsdb/unixctl.ts';

/** Passages through connection tracking that are worth a further question; a packet's way has fewer. */
const MOST_PASSAGES = 16;

/** Said where a flow asked for what Open vSwitch's trace leaves out: addresses that the connection began with are all zero there. */
const NOT_KNOWN =
  "note: this trace does not know the addresses that the connection began with (ct_nw_src, ct_nw_dst, ct_nw_proto), which security\n      groups look at: where it goes on after connection tracking, a drop in the groups' tables may be the trace's own, not the switch's\n";

/**
 * `ofproto/trace` (ovs-vswitchd(8)) of a packet that begins a connection. Open vSwitch leaves out that a connection is
 * translated where it goes on after connection tracking: what it says it replaced is told to it in a next question.
 */
export async function realTrace(control: string, bridge: string, flow: string, frame: string): Promise<string> {
  let states: string[] = [];
  for (;;) {
    const assumed = states.flatMap((state) => ['--ct-next', state]);
    const [text = ''] = await unixctl(control, [['ofproto/trace', ...assumed, bridge, flow, frame]]);
    const found = trackedStates(text);
    const isKnown = found.every((state, i) => state === (states[i] ?? 'trk,new'));
    if (isKnown || found.length <= states.length || found.length > MOST_PASSAGES)
      return asksForOriginal(text) ? `${text.trimEnd()}\n\n${NOT_KNOWN}` : text;
    states = found;
  }
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

/** A flow matched on the connection's first addresses, and they were empty. */
function asksForOriginal(text: string): boolean {
  return /^Megaflow: .*\bct_(nw_proto=0|(nw|ipv6)_(src|dst)=(0\.0\.0\.0|::))/m.test(text);
}

function fieldsOf(text = ''): Map<string, string> {
  return new Map(text.split(',').map((field) => field.split('=', 2) as [string, string]));
}
