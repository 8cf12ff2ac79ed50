import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { setCover } from '../compile/bits.ts';
import { listenersOf } from '../compile/listeners.ts';
import { planOf } from '../compile/rule-match.ts';
import { flowsOfBalancer, flowsOfGroupRule, flowsOfMatch, flowsOfPolicy, flowsOfTrunk } from './flow-counts.ts';
import { ruleMatchSchema } from './kinds/chain.ts';
import { groupRuleSchema } from './kinds/security-group.ts';
import type { LoadBalancer } from './objects.ts';

// What is reckoned is what the compiler makes of it.

const ports = fc
  .tuple(fc.integer({ min: 0, max: 65_535 }), fc.integer({ min: 0, max: 65_535 }))
  .map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`);
const states = fc.uniqueArray(fc.constantFrom('new', 'established', 'reply', 'related', 'invalid'), { minLength: 1 });
const matches = fc
  .record(
    {
      etherType: fc.constantFrom('ipv4', 'ipv6', 'arp', 0x0800, 0x88cc),
      src: fc.constantFrom('10.0.0.0/8', '2001:db8::1'),
      dst: fc.constantFrom('10.0.0.1', '2001:db8::/32'),
      protocol: fc.constantFrom('tcp', 'udp', 'sctp', 'icmp', 'icmpv6', 6, 1, 47),
      ...{ srcPorts: ports, dstPorts: ports, state: states },
      icmpType: fc.constant(8),
      tcpFlags: fc.constantFrom('+syn-ack', '+rst'),
      srcMac: fc.constant('02:00:00:00:00:01'),
      dscp: fc.constant(46),
      srcSet: fc.constant('some'),
      fragment: fc.constantFrom('no', 'first'),
    },
    { requiredKeys: [] },
  )
  .chain((fields) => fc.subarray(Object.keys(fields)).map((not) => ({ ...fields, not })))
  .filter((match) => ruleMatchSchema.safeParse(match).success)
  .map((match) => ruleMatchSchema.parse(match));

test('flow counts: of a match are what rules, policies and mirrors have of it', () => {
  fc.assert(
    fc.property(matches, (match) => {
      const plan = planOf(match);
      const count = plan.matches.length + plan.except.length;
      if (plan.matches.length > 0) assert.equal(flowsOfMatch(match), count);
      else assert.ok(flowsOfMatch(match) >= count);
      for (const [via, type] of [['10.0.0.9', 0x0800] as const, ['2001:db8::9', 0x86dd] as const]) {
        const { src, dst, protocol, srcPorts, dstPorts } = match;
        const policy = { src, dst, protocol, srcPorts, dstPorts };
        const used = planOf(policy).matches.filter(
          ({ fields }) => fields.eth_type === undefined || fields.eth_type === type,
        );
        if (used.length > 0) assert.equal(flowsOfPolicy({ match: policy, via }), used.length);
      }
    }),
    { numRuns: 2000, seed: 1 },
  );
});

test('flow counts: of VLANs are what the compiler makes of a trunk', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 4094 })), fc.integer({ min: 1, max: 3000 }), (some, from) => {
      const trunk = [...some, ...Array.from({ length: 200 }, (_, i) => from + i)];
      const count = flowsOfTrunk({ mac: '02:00:00:00:00:01', allowedPairs: [], vlan: { trunk } });
      assert.equal(count, 3 * setCover(trunk, 12).length);
    }),
    { seed: 1 },
  );
});

test('flow counts: of a trunk grow with the MACs of its pairs, not with their addresses', () => {
  const mac = '02:00:00:00:00:01';
  const vlan = { trunk: [1, 3, 5], native: 7 };
  const pair = (last: number, address = '10.0.0.1') => ({ mac: `02:00:00:00:01:0${last}`, address });
  assert.equal(flowsOfTrunk({ mac, allowedPairs: [], vlan }), 4 * 3);
  assert.equal(flowsOfTrunk({ mac, allowedPairs: [{ address: '10.0.0.1' }, { address: '10.0.0.2' }], vlan }), 4 * 3);
  assert.equal(flowsOfTrunk({ mac, allowedPairs: [pair(1), pair(1, '10.0.0.2'), pair(2)], vlan }), 4 * 7);
  assert.equal(flowsOfTrunk({ mac, allowedPairs: [pair(1)], vlan: { trunk: 'all' } }), 0);
  assert.equal(flowsOfTrunk({ mac, allowedPairs: [pair(1)], vlan: { access: 5 } }), 0);
});

test('flow counts: of a balancer are its listeners, and its members at each port that they lead to', () => {
  const listeners: LoadBalancer['listeners'] = [
    { protocol: 'tcp', port: '1000-1999' },
    { protocol: 'tcp', port: '2000-2009', memberPort: '3000-3009' },
    { protocol: 'tcp', port: '4000-4099', memberPort: 80 },
    { protocol: 'udp', port: 53 },
    { protocol: 'udp', port: 5353, memberPort: 80 },
  ];
  const compiled = listenersOf({ listeners });
  const led = new Set(compiled.map(({ memberPort }) => memberPort));
  const members = [1, 2, 3].map((n) => ({ port: `p${n}`, weight: 1, drain: false, adminUp: true }));
  assert.equal(flowsOfBalancer({ listeners, members }), compiled.length + 3 * led.size);
});

test('flow counts: of a group rule are its ports by IP version, twice with a helper', () => {
  const cases: readonly (readonly [rule: object, flows: number])[] = [
    [{}, 1],
    [{ ipVersion: 6 }, 1],
    [{ protocol: 'icmp' }, 1],
    [{ protocol: 'tcp' }, 2],
    [{ protocol: 'tcp', ports: '1024-65535' }, 12],
    [{ protocol: 'tcp', ports: '1-65534', ipVersion: 4 }, 30],
    [{ protocol: 'tcp', ports: '1-65534', cidr: '10.0.0.0/8' }, 30],
    [{ protocol: 'tcp', ports: '1-65534', group: 'web' }, 60],
    [{ protocol: 'tcp', ports: 21, helper: 'ftp' }, 4],
  ];
  for (const [rule, flows] of cases) assert.equal(flowsOfGroupRule(groupRuleSchema.parse(rule)), flows);
});
