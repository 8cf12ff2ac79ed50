import type { Ipv4, Mac } from '../src/base/addresses.ts';
import { ByteWriter } from '../src/base/bytes.ts';
import type { Flow } from '../src/openflow/flow.ts';
import { decodeMessage, encodeFlowMod, encodeMessage } from '../src/openflow/message.ts';
import { FLOW_COMMAND } from '../src/openflow/messages/flow-mod.ts';
import { parseFlow } from '../src/openflow/text/flow.ts';
import { OF15 } from '../src/openflow/version.ts';
import { decodeDhcp, encodeDhcp } from '../src/packet/dhcp.ts';
import { extractFlowKey } from '../src/packet/flow-key.ts';
import { ipv4Header } from '../src/packet/ipv4.ts';
import { decodePacket, encodePacket, type Packet } from '../src/packet/packet.ts';
import { type Bench, type BenchContext, type Figure, plain } from './bench.ts';
import { discoverOf } from './dhcp-discover.ts';

/** Rates of the wire libraries alone, one thread, one message after the other. For the reader: there is no bar. */
export const codecs: Bench = {
  name: 'codecs',
  about: 'encoding and decoding of OpenFlow messages and packets, per second',
  needsRoot: false,
  run,
};

const FLOW =
  'cookie=0x1234567890abcdef, table=4, priority=100, ip, reg0=0x1001, dl_src=02:00:00:00:10:01, nw_src=10.0.0.5, ' +
  'actions=load:0x7->NXM_NX_REG1[], load:0x1->NXM_NX_REG4[16], resubmit(,10)';

const TCP_REST = { flags: 0x10, window: 512, urgent: 0, options: new Uint8Array(0) };
const SEGMENT: Packet = {
  ethernet: { dst: 0x0200_0000_0002 as Mac, src: 0x0200_0000_0001 as Mac, etherType: 0x0800 },
  vlans: [],
  l3: { kind: 'ipv4', ...ipv4Header({ src: 0x0a00_0005 as Ipv4, dst: 0x0a00_0006 as Ipv4, protocol: 6 }) },
  l4: { kind: 'tcp', srcPort: 40_000, dstPort: 443, sequence: 1, acknowledgement: 2, ...TCP_REST },
  payload: new Uint8Array(512),
};

const DISCOVER = discoverOf(SEGMENT.ethernet.src as Mac, 1);

async function run(context: BenchContext): Promise<Figure[]> {
  const flow = parseFlow(FLOW);
  const mod = { ...flow, kind: 'flowMod', command: FLOW_COMMAND.add, version: OF15, xid: 1 } as const;
  const modBytes = encodeMessage(mod);
  const writer = new ByteWriter(4096);
  const segment = encodePacket(SEGMENT);
  const packetIn = encodeMessage({
    kind: 'packetIn',
    form: 'nxt2',
    version: OF15,
    xid: 0,
    reason: 1,
    table: 22,
    cookie: flow.cookie,
    totalLength: segment.length,
    match: { in_port: 7, reg0: 0x1001 },
    frame: segment,
  });
  const discover = encodeDhcp(DISCOVER);
  const work: readonly (readonly [metric: string, once: () => unknown])[] = [
    ['flow-mods encoded', () => encodeInto(writer, mod)],
    ['flow-mods decoded', () => decodeMessage(modBytes)],
    ['packet-ins decoded', () => decodeMessage(packetIn)],
    ['TCP segments decoded (512 bytes)', () => decodePacket(segment)],
    ['TCP segments encoded (512 bytes)', () => encodePacket(SEGMENT)],
    ['flow keys extracted (TCP)', () => extractFlowKey(segment)],
    ['DHCP messages decoded', () => decodeDhcp(discover)],
    ['DHCP messages encoded', () => encodeDhcp(DISCOVER)],
  ];
  const figures: Figure[] = [];
  for (const [metric, once] of work) {
    context.progress(metric);
    figures.push(plain(metric, perSecond(once, context.quick ? 50 : 1_000), '/s'));
    await context.sleep(0);
  }
  return figures;
}

function encodeInto(writer: ByteWriter, mod: Flow & { readonly command: number }): void {
  writer.reset();
  encodeFlowMod(writer, OF15, mod, 1);
}

/** Calls a second over `forMs`, after a third of that to warm up. */
function perSecond(once: () => unknown, forMs: number): number {
  for (const until = performance.now() + forMs / 3; performance.now() < until; ) for (let i = 0; i < 100; i++) once();
  const from = performance.now();
  let count = 0;
  let now = from;
  for (; now - from < forMs; now = performance.now(), count += 100) for (let i = 0; i < 100; i++) once();
  return (count / (now - from)) * 1000;
}
