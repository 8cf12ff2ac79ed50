import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Ip, linkLocalOf, type Mac, parseCidr, parseIp, parseMac } from '../../src/base/addresses.ts';
import { routedModelSketch } from '../../src/model/generate-routed.ts';
import { at } from '../../src/model/generated.ts';
import { memberPorts } from '../../src/model/listener-ports.ts';
import type { LoadBalancer, LogicalPort, LogicalSwitch } from '../../src/model/objects.ts';
import { ETHER_TYPE } from '../../src/packet/ethernet.ts';
import { ipv4Header } from '../../src/packet/ipv4.ts';
import { ipv6Header } from '../../src/packet/ipv6.ts';
import { decodePacket, encodePacket, type Layer4, type Packet } from '../../src/packet/packet.ts';
import { TCP_FLAG } from '../../src/packet/tcp.ts';
import { Connections } from '../../src/simulate/connections.ts';
import { simulateFrame } from '../../src/simulate/simulate.ts';
import { Conversation } from './conversation.ts';
import { observePipeline, pipelineNetwork } from './in-pipeline.ts';
import { differences, expected, hex } from './observation.ts';
import type { Entry } from './scenario.ts';

/**
 * What members of balancers with `health` say to whom may ask for it (docs/design/layer3.md, §8): routers, the VIP, the switch. `simulate` and the
 * compiled flows give the same to the agent, and leave the same to the member that calls itself.
 */
const RUNS = process.env.WEFT_CAMPAIGN === undefined ? 120 : 2_000;
/** One whose models meet what is counted in the end. */
const USUAL_SEED = 1;
const SEED = Number(process.env.WEFT_SEED ?? USUAL_SEED);
const TYPES = ['tcp', 'http', 'udp', 'icmp'] as const;
const FALLBACK4: Ip = { version: 4, value: (parseIp('169.254.87.70') as Ip & { version: 4 }).value };
const { syn: SYN, ack: ACK } = TCP_FLAG;
const PROTOCOLS = { tcp: 6, udp: 17, icmp: 1, icmpv6: 58, nd: 58 } as const;

interface Asker {
  readonly ip: Ip;
  readonly mac: number;
}

/** Who may ask a member of the balancer. */
function askersOf({ scenario: { model } }: Conversation, on: LogicalSwitch, balancer: LoadBalancer): Asker[] {
  const vip = parseIp(balancer.address)!;
  const service = 0x0a57_4600_0000 + on.key;
  const routers = [...model.routerPortsOfSwitch(on.id)].flatMap(({ mac, addresses }) =>
    addresses.map((text) => ({ ip: parseCidr(text)!.ip, mac: parseMac(mac)! })),
  );
  const own: Ip = vip.version === 4 ? FALLBACK4 : { version: 6, value: linkLocalOf(service) };
  const all = [...routers, { ip: vip, mac: 0x0a57_4c00_0000 + balancer.key }, { ip: own, mac: service }];
  return all.filter(({ ip }) => ip.version === vip.version);
}

function frameOf({ mac, vlan }: LogicalPort, tag: number, to: Asker, rest: Pick<Packet, 'l3' | 'l4'>): Uint8Array {
  const etherType = { ipv4: ETHER_TYPE.ipv4, ipv6: ETHER_TYPE.ipv6, arp: ETHER_TYPE.arp }[rest.l3!.kind as 'ipv4'];
  const isTagged = tag !== 0 && !(vlan && 'access' in vlan);
  const vlans = isTagged ? [{ tpid: ETHER_TYPE.vlan, vid: tag, pcp: 0, dei: false }] : [];
  const ethernet = { src: parseMac(mac)!, dst: to.mac as Mac, etherType };
  return encodePacket({ ethernet, vlans, payload: new Uint8Array(0), ...rest });
}

function ipOf(src: Ip, dst: Ip, l4: Layer4): Pick<Packet, 'l3' | 'l4'> {
  const protocol = PROTOCOLS[l4.kind as keyof typeof PROTOCOLS];
  if (src.version === 4 && dst.version === 4)
    return { l3: { kind: 'ipv4', ...ipv4Header({ src: src.value, dst: dst.value, protocol }) }, l4 };
  if (src.version === 4 || dst.version === 4) throw new TypeError('a packet of two IP versions');
  const header = ipv6Header({ src: src.value, dst: dst.value, nextHeader: protocol, hopLimit: 255 });
  return { l3: { kind: 'ipv6', ...header }, l4 };
}

const tcp = (srcPort: number, dstPort: number, flags: number): Layer4 => ({
  ...{ kind: 'tcp', srcPort, dstPort, flags, options: new Uint8Array(0) },
  ...{ sequence: 1, acknowledgement: 1, window: 1000, urgent: 0 },
});
const udp = (srcPort: number, dstPort: number): Layer4 => ({ kind: 'udp', srcPort, dstPort, noChecksum: false });

/** Where the packet asks who has an address. */
function questionOf(port: LogicalPort, own: Ip, { ip }: Asker): Pick<Packet, 'l3' | 'l4'> {
  const mac = parseMac(port.mac)!;
  if (own.version === 4 && ip.version === 4)
    return { l3: { kind: 'arp', op: 1, sha: mac, spa: own.value, tha: 0 as Mac, tpa: ip.value } };
  const options = [{ kind: 'sourceLinkLayer', mac }] as const;
  return ipOf(own, ip, {
    kind: 'nd',
    message: { kind: 'neighborSolicit', target: (ip as Ip & { version: 6 }).value, options },
  });
}

/** Calls of the member to the VIP by ports as probes have, what it answers them and probes, and questions for addresses. */
function* framesOf(
  port: LogicalPort,
  own: Ip,
  tags: readonly number[],
  balancer: LoadBalancer,
  askers: readonly Asker[],
  ports: { next: number },
): Iterable<Uint8Array> {
  const asked = balancer.health?.port ?? 80;
  const icmp = own.version === 4 ? 'icmp' : 'icmpv6';
  const [echo, unreachable, code] = own.version === 4 ? [0, 3, 3] : [129, 1, 4];
  for (const to of askers)
    for (const tag of tags) {
      const frame = (l4: Layer4): Uint8Array => frameOf(port, tag, to, ipOf(own, to.ip, l4));
      yield frameOf(port, tag, to, questionOf(port, own, to));
      for (const listener of balancer.listeners) {
        const at = Number(`${listener.port}`.split('-')[0]);
        const served = memberPorts(listener).first;
        // Each call is a new one.
        const [caller, other] = [ports.next++, ports.next++];
        yield frame(tcp(asked, caller, SYN | ACK));
        yield frame(tcp(caller, at, SYN));
        yield frame(tcp(served, caller, SYN | ACK));
        yield frame(tcp(served, caller, ACK));
        yield frame(udp(asked, other));
        yield frame(udp(other, at));
        yield frame(udp(served, other));
      }
      yield frame({ kind: icmp, type: echo!, code: 0, rest: 0x0007_0001 });
      yield frame({ kind: icmp, type: unreachable!, code: code!, rest: 0 });
    }
}

function askerOf({ address }: LoadBalancer, bytes: Uint8Array): 'a VIP' | 'another' {
  const { l3 } = decodePacket(bytes);
  return l3?.kind === 'ipv4' && l3.dst === parseIp(address)!.value ? 'a VIP' : 'another';
}

const isMember = ({ members }: LoadBalancer, { id }: LogicalPort): boolean => members.some(({ port }) => port === id);

test('simulate and the compiled flows give the same answers to who asks for the health of members', () => {
  const met = new Map<string, number>();
  const note = (what: string): void => void met.set(what, (met.get(what) ?? 0) + 1);
  const health = fc.array(fc.record({ type: fc.nat({ max: 3 }), port: fc.constantFrom(undefined, 80, 62_000) }), { minLength: 2, maxLength: 2 }); // biome-ignore format: short
  const sketch = fc.record({
    model: routedModelSketch,
    health,
    routers: fc.boolean(),
    aware: fc.boolean(),
    beside: fc.boolean(),
  });
  fc.assert(
    fc.property(sketch, ({ model: of, health, routers, aware, beside }) => {
      const conversation = new Conversation({ model: of, steps: [] });
      const { scenario } = conversation;
      const { model, hosts } = scenario;
      for (const port of routers ? [] : [...model.all('routerPort')]) conversation.put({ ...port, addresses: [] });
      for (const on of aware ? [...model.all('switch')] : []) conversation.put({ ...on, vlanAware: true });
      for (const [n, balancer] of [...model.all('loadBalancer')].entries()) {
        const { type, port } = at(health, n);
        const check = { type: TYPES[type]!, intervalMs: 1000, rise: 1, fall: 1, path: '/', ...(port === undefined ? {} : { port }) }; // biome-ignore format: short
        const { router, ...rest } = balancer;
        const on = model.get('port', balancer.members[0]?.port ?? '')?.switch;
        // Of a router's there are many; but hosts that do not know it there would not, here.
        const isKnown = hosts.every(({ inputs }) => inputs.some(({ id }) => id === balancer.id));
        const moved = beside && isKnown && router && on ? { ...rest, switch: on } : balancer;
        conversation.put({ ...moved, health: check });
      }
      // A host that no way leads from to a VIP knows nothing of it, and asks nobody for it: which rules refuse.
      const knowsAll = (host: string, port: LogicalPort): boolean => {
        const { inputs } = hosts.find(({ id }) => id === host)!;
        return [...model.all('loadBalancer')].every(
          (one) => !isMember(one, port) || inputs.some(({ id }) => id === one.id),
        );
      };
      const network = pipelineNetwork(scenario);
      let connections = new Connections();
      const ports = { next: 61_500 };
      const places = hosts.flatMap(({ id: host, ports }) =>
        [...ports].map(([ofport, port]) => ({ host, ofport, port })),
      );
      for (const balancer of [...model.all('loadBalancer')])
        for (const place of places) {
          const port = model.get('port', place.port)!;
          if (!isMember(balancer, port) || !knowsAll(place.host, port)) continue;
          const own = port.addresses.map((text) => parseIp(text)!).find(({ version }) => version === parseIp(balancer.address)!.version); // biome-ignore format: short
          const on = model.get('switch', port.switch)!;
          if (!own) continue;
          const tags = on.vlanAware ? [0, 10, 20] : [0];
          const askers = askersOf(conversation, on, balancer);
          for (const bytes of framesOf(port, own, tags, balancer, askers, ports)) {
            const entry: Entry = { ...place, bytes, early: false, sketch: undefined as never };
            const outcome = simulateFrame(model, entry, connections);
            connections = connections.with(outcome.commits);
            const found = differences(expected(scenario, entry, outcome), observePipeline(network, scenario, entry), outcome); // biome-ignore format: short
            assert.deepEqual(found, [], `${hex(bytes)} at ${place.port} on ${place.host}`);
            if (outcome.answer) note(`${outcome.answer.by.kind} is told`);
            if (outcome.drops.some(({ reason }) => reason === 'agent')) note(`taken by ${askerOf(balancer, bytes)}`);
            if (outcome.deliveries.some(({ port }) => port === place.port)) note('a member calls itself');
          }
        }
    }),
    { numRuns: RUNS, seed: SEED },
  );
  if (SEED !== USUAL_SEED) return; // so few models need not meet everything, whatever the seed
  for (const what of [
    'switch is told',
    'loadBalancer is told',
    'taken by a VIP',
    'taken by another',
    'a member calls itself',
  ])
    assert.ok((met.get(what) ?? 0) > 9, `${what}: ${met.get(what) ?? 0} times`);
});
