import { formatMac, isMulticastMac, parseMac } from '../base/addresses.ts';
import type { LogicalPort, LogicalSwitch } from '../model/objects.ts';
import { isInVlan } from '../model/subnets.ts';
import type { ModelView } from '../model/view.ts';
import { Connections } from './connections.ts';
import { enter } from './copies.ts';
import { answered, forward, type Ingress } from './forward.ts';
import { type Frame, readFrame } from './frame.ts';
import { formatFrame } from './frame-text.ts';
import { leavePort } from './from-port.ts';
import { guard, isAnnouncement } from './guard.ts';
import { Journey } from './journey.ts';
import { saidByAgent } from './l2-gateways.ts';
import type { Outcome } from './outcome.ts';
import { macsOf } from './ownership.ts';
import type { Packet } from './packet.ts';
import { enterRouter } from './router.ts';
import { bringsLarger } from './sizes.ts';
import { speakerFor } from './speakers.ts';
import { arrive } from './to-port.ts';
import { Tracker } from './tracker.ts';
import { ingressVlan } from './vlans.ts';

/** A frame that a workload sends: by its port, on the host where the port's interface is. */
export interface Entry {
  readonly port: string;
  readonly host: string;
}

/**
 * Walks one frame through the *model*: what happens to it, where and why. `src/simulate` owns this second, independent
 * way to say what Weft means; it knows nothing of flows (`src/compile` is the first), and both follow
 * docs/design/layer2.md and layer3.md step by step.
 *
 * `host` must have a claim on the port. `connections`: what conntrack knows on all hosts; the outcome's `commits` are what the packet adds.
 */
export function simulateFrame(
  model: ModelView,
  entry: Entry & { readonly bytes: Uint8Array },
  connections = new Connections(),
): Outcome {
  return walkFrame(model, { ...entry, frame: readFrame(entry.bytes) }, connections);
}

/** As `simulateFrame`, for a frame that was read already or that nobody wrote. */
export function walkFrame(
  model: ModelView,
  entry: Entry & { readonly frame: Frame },
  connections: Connections,
): Outcome {
  const journey = new Journey(model, new Tracker(connections));
  const port = model.get('port', entry.port);
  const sw = port && model.get('switch', port.switch);
  if (port && sw) enterSwitch(journey, port, sw, entry);
  for (let leg = journey.nextLeg(); leg; leg = journey.nextLeg()) {
    if (leg.at === 'switch') forward(journey, leg);
    else if (leg.at === 'router') enterRouter(journey, leg);
    else arrive(journey, leg);
  }
  return journey.outcome();
}

function enterSwitch(
  journey: Journey,
  port: LogicalPort,
  sw: LogicalSwitch,
  { host, frame }: Entry & { readonly frame: Frame },
): void {
  const about = { kind: 'port', id: port.id } as const;
  const macs = `${formatMac(frame.src)} → ${formatMac(frame.dst)}`;
  journey.step(host, about, `enters at ${port.name}: ${macs}, ${formatFrame(frame)}`);
  const said = saidByAgent(journey.model, port, sw, frame);
  if (said === 'hello') journey.ask('hello', { host, frame }, about);
  if (said) return journey.drop('agent', host, about);
  if (!port.adminUp) return journey.drop('port-down', host, about);
  if (!sw.adminUp) return journey.drop('switch-down', host, { kind: 'switch', id: sw.id });
  const binding = journey.model.bindingOf(port.id);
  if (!binding?.claims.some((claim) => claim.host === host)) return journey.drop('not-bound', host, about);
  if (binding.active !== undefined && binding.active !== host) {
    journey.activates = journey.model.outsideOfPort(port.id) === undefined && isAnnouncement(port, sw, frame);
    if (!journey.activates && port.host !== host) return journey.drop('not-active', host, about);
  }
  const ingress = ingressVlan(sw, port, frame.tag);
  if ('drop' in ingress) return journey.drop(ingress.drop, host, about);
  const { vlan } = ingress;
  if (vlan > 0) journey.step(host, about, `belongs to VLAN ${vlan}`);
  const speaker = binding.active === host && speakerFor(journey.model, port, sw, frame);
  if (speaker) return journey.drop('speaker', host, { kind: 'routerPort', id: speaker.id });
  const way: Ingress = { port, switch: sw, vlan };
  if (port.portSecurity) {
    const reason = guard(port, sw, frame);
    if (reason) return journey.drop(reason, host, about);
  } else if (isMulticastMac(frame.src)) return journey.drop('spoofed-mac', host, about);
  else learn(journey, frame, host, way);
  const packet: Packet = {
    frame: enter(journey, frame, host, port, sw),
    host,
    from: { port: port.id, host },
    ...(journey.model.outsideOfPort(port.id)?.kind === 'l2Gateway' ? { gatewayPort: port.id } : {}),
    hops: 0,
    isLarger: bringsLarger(journey.model, port, sw, host),
    isFromTunnel: false,
    isViaVip: false,
    isToSelf: false,
    isKnownOnly: false,
    isRouters: false,
  };
  const leaving = leavePort(journey, packet, way);
  if (!leaving) return;
  if (leaving.isToSelf) journey.goOn({ at: 'port', packet: leaving, ...way });
  else if (!answered(journey, leaving, way)) journey.goOn({ at: 'switch', packet: leaving, switch: sw, vlan });
}

function learn(journey: Journey, { src }: Frame, host: string, { port, switch: sw, vlan }: Ingress): void {
  const mac = formatMac(src);
  for (const other of journey.model.portsOfSwitch(sw.id)) {
    if (isInVlan(sw, other, vlan) && macsOf(other).includes(parseMac(mac)!)) return;
  }
  for (const held of journey.model.routerPortsOfSwitch(sw.id)) if (held.mac === mac) return;
  for (const known of journey.model.learnedOf(sw.id))
    if (known.mac === mac && known.vlan === vlan && known.port === port.id && known.host === host) return;
  journey.learns = { vlan, mac };
}
