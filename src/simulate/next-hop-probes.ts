import { cidrContains, type Ip, parseIp, parseMac } from '../base/addresses.ts';
import type { LogicalPort, LogicalSwitch, NextHopProbe, RouterPort } from '../model/objects.ts';
import type { ModelView } from '../model/view.ts';
import { ARP_OP } from '../packet/arp.ts';
import { ICMP_TYPE } from '../packet/icmp.ts';
import { ICMPV6_TYPE } from '../packet/icmpv6.ts';
import { networksOf } from './addresses.ts';
import type { Frame } from './frame.ts';
import { portTowards } from './routes.ts';
import { sameIp } from './tuple.ts';

/** What next hops outside answer to their gateway's probes (docs/design/gateways.md, §7). */

/**
 * Of a frame from the wire: `answer`: it is for the host's agent; `stray`: an echo reply to an address that pings, from somebody who was not asked;
 * undefined: neither.
 */
export function probeAnswerOf(
  model: ModelView,
  wire: LogicalPort,
  sw: LogicalSwitch,
  frame: Frame,
): { readonly what: 'answer' | 'stray'; readonly port: RouterPort } | undefined {
  if (wire.portSecurity || sw.vlanAware) return undefined;
  for (const port of model.routerPortsOfSwitch(sw.id)) {
    if (parseMac(port.mac) !== frame.dst) continue;
    const what = judge(frame, [...probedAt(model, port)]);
    if (what) return { what, port };
  }
  return undefined;
}

interface Probed {
  readonly hop: Ip;
  readonly type: NextHopProbe['type'];
  readonly asker: Ip;
}

function judge(frame: Frame, probed: readonly Probed[]): 'answer' | 'stray' | undefined {
  const { arp, nd, icmp, ip } = frame;
  const told = probed.filter(({ type }) => type === 'arp').map(({ hop }) => hop);
  if (arp?.op === ARP_OP.reply && told.some((hop) => hop.version === 4 && hop.value === arp.senderIp)) return 'answer';
  if (nd && icmp?.type === ICMPV6_TYPE.neighborAdvert)
    return told.some((hop) => hop.version === 6 && hop.value === nd.target) ? 'answer' : undefined;
  if (ip?.fragment !== 'no' || icmp?.type !== (ip.version === 4 ? ICMP_TYPE.echoReply : ICMPV6_TYPE.echoReply))
    return undefined;
  const pinged = probed.filter(({ type, asker }) => type === 'ping' && sameIp(asker, ip.dst));
  if (pinged.length === 0) return undefined;
  return pinged.some(({ hop }) => sameIp(hop, ip.src)) ? 'answer' : 'stray';
}

/** Next hops of static routes that are reached by the port and probed there, with the address that asks. */
function* probedAt(model: ModelView, port: RouterPort): Iterable<Probed> {
  const router = model.get('router', port.router);
  for (const { via, probe } of router?.routes ?? []) {
    if (!probe) continue;
    const hop = parseIp(via!)!;
    if (portTowards(model, router!, hop)?.id !== port.id) continue;
    const asker = networksOf(port).find((network) => cidrContains(network, hop))!.ip;
    yield { hop, type: probe.type, asker };
  }
}
