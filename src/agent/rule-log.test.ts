import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIp } from '../base/addresses.ts';
import { seededRandom } from '../base/random.ts';
import { match } from '../compile/fields.ts';
import { PACKET_IN } from '../compile/tables.ts';
import * as example from '../compile/testing/example.ts';
import type { Chain, Rule, ScopeRecord } from '../model/objects.ts';
import { encodeFrame } from '../simulate/encode-frame.ts';
import type { Frame } from '../simulate/frame.ts';
import type { PacketIn } from './events.ts';
import type { Ground } from './ground.ts';
import { NO_REGISTERS, readRegisters } from './registers.ts';
import { RuleLog } from './rule-log.ts';
import { Scope } from './scope.ts';

const [web, edge] = [example.chain(1, 'drop'), example.chain(2)];
const net = example.logicalSwitch(1);
const from = example.port(1, net, { fromChain: web.id });
const to = example.port(2, net, { toChain: web.id });
const router = example.router(1);
const inside = example.routerPort(1, router, { switch: net.id, inChain: edge.id });
const outside = example.routerPort(2, router, { outside: true, outChain: edge.id });
const devices: ScopeRecord[] = [
  { kind: 'tenant', id: net.tenant, name: 'acme', revision: 1 },
  ...[web, edge, net, from, to, router, inside, outside],
];
const fromPort = { portKey: from.key, switchKey: net.key };

/** A cookie leads to the rule with its number. */
function logger(records: readonly ScopeRecord[]): { scope: Scope; log: RuleLog; lines: string[] } {
  const scope = new Scope();
  put(scope, ...devices, ...records);
  const lines: string[] = [];
  const report = (events: readonly { readonly text: string }[]): never[] => {
    lines.push(...events.map(({ text }) => text));
    return [];
  };
  const log = new RuleLog({ scope, report } as unknown as Ground, (cookie) => ({
    units: [],
    objects: [{ kind: 'rule', id: example.idOf('rule', Number(cookie)) }],
  }));
  return { scope, log, lines };
}

function put(scope: Scope, ...records: readonly ScopeRecord[]): void {
  scope.apply(records.map((record) => ({ op: 'put', record })));
}

const logged = (more: Partial<PacketIn>): PacketIn => ({
  ...{ ...NO_REGISTERS, class: PACKET_IN.log, cookie: 1n, inPort: 1, frame: ssh },
  ...more,
});

/** What rule 1 logs of these packets. */
function linesOf(records: readonly ScopeRecord[], packets: readonly Partial<PacketIn>[]): string[] {
  const { log, lines } = logger(records);
  packets.forEach((packet, second) => {
    log.handle(logged(packet), second * 1000);
  });
  return lines;
}

const logs = (chain: Chain): Rule => example.rule(1, chain, 10, 'log');

function ip(src: string, dst: string, protocol: number, more: Partial<Frame>): Uint8Array {
  const [source, destination] = [parseIp(src)!, parseIp(dst)!];
  const etherType = source.version === 4 ? 0x0800 : 0x86dd;
  const { version } = source;
  const part = {
    version,
    src: source,
    dst: destination,
    protocol,
    ttl: 64,
    dscp: 0,
    fragment: 'no',
    length: 40,
  } as const;
  return encodeFrame({ src: 0x02_0000_0000_01, dst: 0x02_0000_0000_02, etherType, ip: part, ...more });
}
const ssh = ip('10.0.0.5', '10.0.1.5', 6, { ports: { src: 49152, dst: 22 } });

test('a line names chain, rule, what is decided of the packet and by what, its addresses and ports, the port and the way', () => {
  const rules = [logs(web), example.rule(2, web, 20, 'accept', { protocol: 'tcp', dstPorts: '22' })];
  const ping = ip('2001:db8::1', '2001:db8::2', 58, { icmp: { type: 128, code: 0, id: 1 } });
  const arp = { op: 1, senderIp: 0x0a00_0005, targetIp: 0x0a00_0001, senderMac: 0x02_0000_0000_01 };
  const asks = encodeFrame({ src: 0x02_0000_0000_01, dst: 0xffff_ffff_ffff, etherType: 0x0806, arp });
  assert.deepEqual(
    linesOf(rules, [
      { ...fromPort, frame: ssh },
      { ...fromPort, outPortKey: to.key, frame: ping },
      { ...fromPort, frame: asks },
    ]),
    [
      'chain c1, rule r1: accept by rule r2, tcp 10.0.0.5:49152 → 10.0.1.5:22, from port acme/p1 on switch s1',
      'chain c1, rule r1: drop by policy, icmpv6 2001:db8::1 → 2001:db8::2 type 128 code 0, to port acme/p2 on switch s1',
      'chain c1, rule r1: drop by policy, 02:00:00:00:00:01 → ff:ff:ff:ff:ff:ff arp request 10.0.0.5 → 10.0.0.1, from port acme/p1 on switch s1',
    ],
  );
});

test('on a router the line says by which of its ports the packet comes in or goes out, also from a chain that was jumped to', () => {
  const deep = example.chain(3);
  const rules = [logs(deep), example.rule(2, deep, 20, 'reject'), example.rule(3, edge, 1, 'jump', {}, deep)];
  const within = { switchKey: router.key, outPortKey: inside.key, frame: ssh };
  const ends = [inside, outside].map(({ key }) => ({ ...within, routerPortKey: key }));
  assert.deepEqual(linesOf([...rules, deep], ends), [
    'chain c3, rule r1: reject by rule r2, tcp 10.0.0.5:49152 → 10.0.1.5:22, in by router port acme/router1/rp1',
    'chain c3, rule r1: reject by rule r2, tcp 10.0.0.5:49152 → 10.0.1.5:22, out by router port acme/router1/rp2',
  ]);
});

test('a line of a pre-filter says so: of the switch, of the router, of the address', () => {
  const early = example.chain(3, 'drop');
  const wire = example.logicalSwitch(2);
  const by = { ...outside, switch: wire.id };
  const address = { ...example.floatingAddress(1, '10.0.1.5', router, from), prefilter: early.id };
  const packet = { switchKey: router.key, outPortKey: by.key, routerPortKey: by.key, frame: ssh };
  for (const holder of [{ ...wire, prefilter: early.id }, { ...router, prefilter: early.id }, address])
    assert.deepEqual(linesOf([logs(early), early, wire, by, holder], [packet]), [
      'chain c3, rule r1: drop by policy, tcp 10.0.0.5:49152 → 10.0.1.5:22, pre-filter, in by router port acme/router1/rp2',
    ]);
});

test('what is decided follows what conntrack said, sets and groups', () => {
  const set = example.addressSet(1, ['10.0.1.0/24']);
  const group = example.securityGroup(1);
  const member = example.port(3, net, { addresses: ['10.0.0.5'], groups: [group.id] });
  const rules = [
    logs(web),
    example.rule(2, web, 20, 'accept', { state: ['established'] }),
    example.rule(3, web, 30, 'accept', { dstSet: set.id, srcGroup: group.id, state: ['new'] }),
  ];
  const packets = [{ isNew: true }, { isEstablished: true }, {}].map((said) => ({ ...fromPort, frame: ssh, ...said }));
  assert.deepEqual(
    linesOf([...rules, set, group, member], packets).map((line) => /: (.*?),/.exec(line)![1]),
    ['accept by rule r3', 'accept by rule r2', 'drop by policy'],
  );
});

test('a rule that this host cannot read leaves a line without a decision, as one does that is in no chain of the place', () => {
  const strange = example.rule(2, web, 20, 'accept', { moonPhase: 'full' } as Rule['match']);
  const lines = linesOf([logs(web), strange], [{ ...fromPort, frame: ssh }]);
  assert.deepEqual(lines, [
    'chain c1, rule r1: noted, tcp 10.0.0.5:49152 → 10.0.1.5:22, from port acme/p1 on switch s1',
  ]);
  assert.deepEqual(linesOf([logs(example.chain(3))], [{ frame: ssh }]), [
    'chain ?, rule r1: noted, tcp 10.0.0.5:49152 → 10.0.1.5:22',
  ]);
});

test('frames that are cut short or senseless are logged as what can be read of them', () => {
  const random = seededRandom(1);
  const odd = Array.from({ length: 300 }, () => {
    const bytes = ssh.slice(0, random.below(ssh.length + 1));
    for (let flips = random.below(4); flips > 0 && bytes.length > 0; flips--)
      bytes[random.below(bytes.length)] = random.below(256);
    return { ...fromPort, frame: bytes };
  });
  const [empty, ...rest] = linesOf([logs(web)], [{ ...fromPort, frame: new Uint8Array() }, ...odd]);
  assert.match(empty!, /^chain c1, rule r1: drop by policy, 00:.*type 0x0000, from port acme\/p1/);
  assert.equal(rest.length, 300);
  assert.ok(rest.every((line) => /^chain c1, rule r1: drop by policy, .* from port acme\/p1/.test(line)));
});

test('a rule and a member that change count at once', () => {
  const group = example.securityGroup(1);
  const member = example.port(3, net, { groups: [group.id] });
  const friends = example.rule(2, web, 20, 'accept', { srcGroup: group.id });
  const { scope, log, lines } = logger([logs(web), friends, group, member]);
  const decided = (): string => {
    log.handle(logged(fromPort), 1000 * lines.length);
    return /: (.*?),/.exec(lines.at(-1)!)![1]!;
  };
  assert.equal(decided(), 'drop by policy');
  put(scope, { ...member, addresses: ['10.0.0.5'] });
  assert.equal(decided(), 'accept by rule r2');
  put(scope, { ...friends, action: 'reject' });
  assert.equal(decided(), 'reject by rule r2');
});

test('each rule logs within its own limit, ten a second unless it says otherwise', () => {
  const { log, lines } = logger([logs(web), { ...example.rule(2, web, 20, 'log'), limitPerSecond: 3 }]);
  const of = (name: string): number => lines.filter((line) => line.includes(`rule ${name}:`)).length;
  for (let i = 0; i < 100; i++) for (const cookie of [1n, 2n]) log.handle(logged({ ...fromPort, cookie }), 1000);
  assert.deepEqual([of('r1'), of('r2')], [10, 3]);
  for (let i = 0; i < 100; i++) log.handle(logged({ ...fromPort, cookie: 2n }), 2000);
  assert.equal(of('r2'), 6);
});

test('what conntrack said is read from the registers of a packet-in', () => {
  const said = readRegisters(match({ isNew: 1, isReply: 1, vlan: 7 }));
  assert.deepEqual(said, { ...NO_REGISTERS, isNew: true, isReply: true, vlan: 7 });
  const rest = readRegisters(match({ isEstablished: 1, isRelated: 1, isInvalid: 1 }));
  assert.deepEqual(rest, { ...NO_REGISTERS, isEstablished: true, isRelated: true, isInvalid: true });
});
