import type { LogicalPort, LogicalSwitch, Mirror } from '../model/objects.ts';
import type { Frame } from './frame.ts';
import type { Journey } from './journey.ts';
import { areJoined, placesOf } from './places.ts';
import { policyMatchFits } from './routes.ts';

/** Marks, limits and mirrors (docs/design/layer3.md, §11). A single frame is within every limit. */

/** What a workload sends, behind the guard: the frame as it goes on. */
export function enter(journey: Journey, frame: Frame, host: string, port: LogicalPort, sw: LogicalSwitch): Frame {
  const marked = withMark(journey, frame, host, port, sw);
  limitNote(journey, host, port, port.limits?.sendKbps, port.limits?.sendPps);
  copy(journey, { frame: marked, tag: frame.tag ?? 0, host, port, way: 'from' });
  return marked;
}

/** What a workload is about to get; `tag` as within the switch. */
export function leave(journey: Journey, frame: Frame, host: string, port: LogicalPort, tag: number): void {
  limitNote(journey, host, port, port.limits?.receiveKbps, port.limits?.receivePps);
  copy(journey, { frame, tag, host, port, way: 'to' });
}

function withMark(journey: Journey, frame: Frame, host: string, port: LogicalPort, sw: LogicalSwitch): Frame {
  const dscp = port.dscp ?? sw.dscp;
  if (dscp === undefined || !frame.ip || frame.ip.dscp === dscp) return frame;
  const by = port.dscp === undefined ? ({ kind: 'switch', id: sw.id } as const) : aboutPort(port);
  journey.step(host, by, `marks it with DSCP ${dscp}`);
  return { ...frame, ip: { ...frame.ip, dscp } };
}

function limitNote(journey: Journey, host: string, port: LogicalPort, kbps?: number, pps?: number): void {
  const most = [...(kbps === undefined ? [] : [`${kbps} kbit/s`]), ...(pps === undefined ? [] : [`${pps} packets/s`])];
  if (most.length > 0) journey.step(host, aboutPort(port), `passes while it is within ${most.join(' and ')}`);
}

interface Seen {
  readonly frame: Frame;
  readonly tag: number;
  readonly host: string;
  readonly port: LogicalPort;
  readonly way: 'from' | 'to';
}

function copy(journey: Journey, seen: Seen): void {
  for (const mirror of mirrorsOf(journey, seen)) {
    const common = { mirror: mirror.id, from: seen.host, port: seen.port.id, frame: seen.frame, tag: seen.tag };
    const about = { kind: 'mirror', id: mirror.id } as const;
    const { collector } = mirror.to;
    if (collector) {
      journey.step(seen.host, about, `a copy to ${collector.address}, with key ${collector.key}`);
      journey.copy({ ...common, collector });
      continue;
    }
    const target = journey.model.get('port', mirror.to.port!);
    if (!target?.adminUp) continue;
    for (const there of placesOf(journey, target)) {
      if (!areJoined(journey, seen.host, there)) continue;
      journey.step(seen.host, about, `a copy to ${target.name}`);
      journey.copy({ ...common, to: { port: target.id, host: there } });
    }
  }
}

function mirrorsOf({ model }: Journey, { port, way, frame }: Seen): Mirror[] {
  const all = new Map([...model.mirrorsOf(port.id), ...model.mirrorsOf(port.switch)].map((each) => [each.id, each]));
  return [...all.values()]
    .filter(
      (mirror) =>
        mirror.adminUp &&
        (mirror.ports.includes(port.id) || (mirror.switch === port.switch && mirror.to.port !== port.id)) &&
        (mirror.direction === 'both' || mirror.direction === way) &&
        (Object.keys(mirror.match).length === 0 || (frame.ip !== undefined && policyMatchFits(mirror.match, frame))),
    )
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

function aboutPort({ id }: LogicalPort): { readonly kind: 'port'; readonly id: string } {
  return { kind: 'port', id };
}
