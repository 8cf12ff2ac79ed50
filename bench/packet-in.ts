import { once } from 'node:events';
import { join } from 'node:path';
import { HOST_METERS } from '../src/agent/meters.ts';
import { BROADCAST_MAC, type Ipv4, type Mac, parseMac } from '../src/base/addresses.ts';
import { scriptIn } from '../src/lab/namespaces.ts';
import { INTEGRATION_BRIDGE } from '../src/lab/open-vswitch.ts';
import { waitForPorts } from '../src/lab/weft.ts';
import { connectOpenFlow, type OpenFlowConnection } from '../src/openflow/connection.ts';
import { OFPP } from '../src/openflow/flow.ts';
import { BAND_TYPE, METER_COMMAND, METER_FLAG } from '../src/openflow/messages/meter.ts';
import { encodeDhcp } from '../src/packet/dhcp.ts';
import { ETHER_TYPE } from '../src/packet/ethernet.ts';
import { IP_PROTO } from '../src/packet/ip-protocol.ts';
import { ipv4Header } from '../src/packet/ipv4.ts';
import { encodePacket } from '../src/packet/packet.ts';
import { UDP_PORT } from '../src/packet/udp.ts';
import { type Bench, type BenchContext, type Figure, median, plain, quantile } from './bench.ts';
import { discoverOf } from './dhcp-discover.ts';
import { type PlannedPort, planPorts } from './network.ts';
import { plugInternal, startWeft, type WeftBench } from './weft.ts';

/** How many packet-ins an agent answers, and how fast: DHCP discovers, which it reads, answers and sends out. */
export const packetIn: Bench = {
  name: 'packet-in',
  about:
    'DHCP discovers that the agent answers per second, with 200 ports; and how long a workload waits for its offer',
  needsRoot: true,
  run,
};

const PORTS = 200;
const CLIENT = 'client';

async function run(context: BenchContext): Promise<Figure[]> {
  const size = { switches: 20, ports: PORTS + 1, localPorts: PORTS + 1, localSwitches: 20 };
  const weft = await startWeft(context, { size, workloads: [CLIENT] });
  const [own, ...others] = planPorts(size);
  context.progress(`plugging ${PORTS} interfaces`);
  await plugInternal(weft.lab, 'one', others);
  await waitForPorts(
    weft.client,
    others.map((port) => port.id),
  );
  const latencies = await offerLatencies(context, weft, own!);
  const rates = await answeredRates(context, weft, others);
  const whole = rates.filter(({ sent, answered }) => answered >= 0.99 * sent);
  return [
    plain('DHCP offers per second, every discover answered', Math.max(0, ...whole.map((r) => r.perSecond)), '/s'),
    plain('DHCP offers per second, at most', Math.max(...rates.map((r) => r.perSecond)), '/s'),
    plain("what the switch's meter lets through outside this bench", HOST_METERS[0].packetsPerSecond, '/s'),
    plain('discover to offer in a workload, median', median(latencies), 'ms'),
    plain('the same, of 100 the 99th', quantile(latencies, 0.99), 'ms'),
  ];
}

/** What a real client sees at a rate that nobody minds. */
async function offerLatencies(context: BenchContext, weft: WeftBench, port: PlannedPort): Promise<number[]> {
  context.progress('one client');
  const [perSecond, forMs] = [40, context.quick ? 1_000 : 5_000];
  // A broadcast needs a route where there is no default one.
  await weft.lab.execOk(CLIENT, ['ip', 'route', 'add', '255.255.255.255/32', 'dev', 'eth0']);
  const script = join(import.meta.dirname, 'dhcp-end.ts');
  const argv = [process.execPath, script, String(parseMac(port.mac)), String(perSecond), String(forMs)];
  const child = weft.lab.spawn(CLIENT, argv);
  let errors = '';
  child.stderr!.on('data', (text: Buffer) => (errors += text.toString()));
  await once(child.stdout!, 'data');
  child.stdin!.write('go\n');
  const [report] = (await once(child.stdout!, 'data')) as [Buffer];
  const { sent, latenciesMs } = JSON.parse(report.toString()) as { sent: number; latenciesMs: number[] };
  if (latenciesMs.length < sent / 2) throw new Error(`${latenciesMs.length} offers for ${sent} discovers: ${errors}`);
  return latenciesMs;
}

interface Rate {
  readonly sent: number;
  readonly answered: number;
  readonly perSecond: number;
}

const RATES = [500, 1_000, 2_000, 4_000, 8_000, 16_000];

/**
 * Discovers from all ports in turn, at ever higher rates. They are put into the pipeline as packet-outs that pretend to
 * come from a port; each port stays within its budget. The switch's meter is lifted: the agent is what is measured.
 */
async function answeredRates(
  context: BenchContext,
  weft: WeftBench,
  ports: readonly PlannedPort[],
): Promise<readonly Rate[]> {
  const { lab } = weft;
  const up = ports.map(({ name }) => `ip link set ${name} up`);
  await scriptIn(lab.namespace('one'), ['echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6', ...up]);
  const connection = await connectOpenFlow(`unix:${join(lab.switchOf('one').dir, `${INTEGRATION_BRIDGE}.mgmt`)}`);
  context.defer(() => connection.close());
  liftMeter(connection);
  const numbers = new Map<string, number>();
  const { ports: described } = await connection.multipart({ kind: 'portDesc' });
  for (const { name, number } of described) numbers.set(name, number);
  const sources = ports.map((port) => ({ ofport: numbers.get(port.name)!, frame: discoverFrame(parseMac(port.mac)!) }));
  const forMs = context.quick ? 500 : 2_000;
  const rates: Rate[] = [];
  for (const perSecond of RATES) {
    const before = await transmitted(connection);
    const elapsedMs = await send(context, connection, sources, perSecond, forMs);
    const sent = Math.floor((perSecond * forMs) / 1000);
    await context.sleep(500);
    const answered = (await transmitted(connection)) - before;
    rates.push({ sent, answered, perSecond: (answered / elapsedMs) * 1000 });
    context.progress(`${perSecond}/s for ${Math.round(elapsedMs)} ms: ${answered} of ${sent} answered`);
    await context.sleep(2_000); // budgets fill again
  }
  return rates;
}

function liftMeter(connection: OpenFlowConnection): void {
  connection.send({
    kind: 'meterMod',
    command: METER_COMMAND.modify,
    flags: METER_FLAG.packets | METER_FLAG.burst,
    meter: HOST_METERS[0].meter,
    bands: [{ type: BAND_TYPE.drop, rate: 1_000_000, burst: 1_000_000 }],
  });
}

function discoverFrame(mac: Mac): Uint8Array {
  const l3 = ipv4Header({ src: 0 as Ipv4, dst: 0xffff_ffff as Ipv4, protocol: IP_PROTO.udp });
  return encodePacket({
    ethernet: { src: mac, dst: BROADCAST_MAC, etherType: ETHER_TYPE.ipv4 },
    vlans: [],
    l3: { kind: 'ipv4', ...l3 },
    l4: { kind: 'udp', srcPort: UDP_PORT.dhcpClient, dstPort: UDP_PORT.dhcpServer, noChecksum: false },
    payload: encodeDhcp(discoverOf(mac, 1)),
  });
}

/** Sends at a rate; gives the time it took, which is longer where the switch does not keep up. */
async function send(
  context: BenchContext,
  connection: OpenFlowConnection,
  sources: readonly { readonly ofport: number; readonly frame: Uint8Array }[],
  perSecond: number,
  forMs: number,
): Promise<number> {
  const from = performance.now();
  const total = Math.floor((perSecond * forMs) / 1000);
  for (let sent = 0; sent < total; ) {
    const due = Math.min(total, Math.floor(((performance.now() - from) * perSecond) / 1000));
    for (; sent < due; sent++) {
      const { ofport, frame } = sources[sent % sources.length]!;
      const actions = [{ kind: 'output', port: OFPP.table }] as const;
      connection.send({ kind: 'packetOut', match: { in_port: ofport }, actions, frame });
    }
    await connection.drained();
    await context.sleep(1);
  }
  await connection.barrier();
  return performance.now() - from;
}

/** Packets that left by ports. */
async function transmitted(connection: OpenFlowConnection): Promise<number> {
  const { ports } = await connection.multipart({ kind: 'port' });
  return ports.reduce((sum, port) => sum + (port.port < OFPP.max ? Number(port.txPackets) : 0), 0);
}
