import { formatMac, isMulticastMac, parseMac } from '../base/addresses.ts';
import type { LogicalPort, LogicalSwitch } from '../model/objects.ts';
import type { ModelView } from '../model/view.ts';
import { walkChain } from './chains.ts';
import { answered, forward, type Ingress } from './forward.ts';
import { readFrame } from './frame.ts';
import { guard, isAnnouncement } from './guard.ts';
import { Journey } from './journey.ts';
import type { Outcome } from './outcome.ts';
import { macsOf } from './ownership.ts';
import { ingressVlan, isInVlan } from './vlans.ts';

/**
 * Walks one frame through the *model*: what happens to it, where and why. `src/simulate` owns this second, independent
 * way to say what Weft means; it knows nothing of flows (`src/compile` is the first), and both follow
 * docs/design/layer2.md step by step.
 *
 * `host` is where the frame enters; it must have a claim on the port, as the port's interface is there.
 */
export function simulateFrame(
  model: ModelView,
  entry: { readonly port: string; readonly host: string; readonly bytes: Uint8Array },
): Outcome {
  const journey = new Journey(model, readFrame(entry.bytes));
  const port = model.get('port', entry.port);
  const sw = port && model.get('switch', port.switch);
  if (port && sw) walk(journey, port, sw, entry.host);
  return journey.outcome();
}

function walk(journey: Journey, port: LogicalPort, sw: LogicalSwitch, host: string): void {
  const { frame } = journey;
  const about = { kind: 'port', id: port.id } as const;
  journey.step(
    host,
    about,
    `enters at ${port.name}: ${formatMac(frame.src)} → ${formatMac(frame.dst)}, type 0x${frame.etherType.toString(16).padStart(4, '0')}`,
  );
  if (!port.adminUp) return journey.drop('port-down', host, about);
  if (!sw.adminUp) return journey.drop('switch-down', host, { kind: 'switch', id: sw.id });
  const binding = journey.model.bindingOf(port.id);
  if (!binding?.claims.some((claim) => claim.host === host)) return journey.drop('not-bound', host, about);
  if (binding.active !== undefined && binding.active !== host) {
    journey.activates = isAnnouncement(port, sw, frame);
    if (!journey.activates && port.host !== host) return journey.drop('not-active', host, about);
  }
  const ingress = ingressVlan(sw, port, frame.tag);
  if ('drop' in ingress) return journey.drop(ingress.drop, host, about);
  const { vlan } = ingress;
  if (vlan > 0) journey.step(host, about, `belongs to VLAN ${vlan}`);
  if (port.portSecurity) {
    const reason = guard(port, sw, frame);
    if (reason) return journey.drop(reason, host, about);
  } else learn(journey, { port, switch: sw, host, vlan });
  if (port.fromChain !== undefined && !passes(journey, port.fromChain, host, vlan)) return;
  const way: Ingress = { port, switch: sw, host, vlan };
  if (!answered(journey, way)) forward(journey, way);
}

/** The chain's verdict for a frame on its way in. */
function passes(journey: Journey, chain: string, host: string, vlan: number): boolean {
  const decision = walkChain(journey, chain, host, vlan);
  if (decision) {
    if (decision.verdict === 'drop') journey.drop('rule', host, { kind: 'rule', id: decision.rule.id });
    return decision.verdict === 'accept';
  }
  if (journey.model.get('chain', chain)?.policy !== 'drop') return true;
  journey.drop('policy', host, { kind: 'chain', id: chain });
  return false;
}

function learn(journey: Journey, { port, switch: sw, host, vlan }: Ingress): void {
  const { src } = journey.frame;
  if (isMulticastMac(src)) return;
  const mac = formatMac(src);
  for (const other of journey.model.portsOfSwitch(sw.id)) {
    if (isInVlan(sw, other, vlan) && macsOf(other).includes(parseMac(mac)!)) return;
  }
  for (const known of journey.model.learnedOf(sw.id))
    if (known.mac === mac && known.vlan === vlan && known.port === port.id && known.host === host) return;
  journey.learns = { vlan, mac };
}
