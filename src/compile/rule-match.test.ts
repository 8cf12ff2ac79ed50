import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RuleMatch } from '../model/objects.ts';
import { formatMatch } from '../openflow/text/match.ts';
import { ruleMatches } from './rule-match.ts';

const matchesOf = (rule: RuleMatch): string[] => ruleMatches(rule).map(({ fields }) => formatMatch(fields));

test('a rule becomes the matches that together fit what it fits', () => {
  const cases: [RuleMatch, string[]][] = [
    [{}, ['']],
    [
      { srcMac: '02:00:00:00:00:01', dstMac: '01:00:00:00:00:00/01:00:00:00:00:00' },
      ['dl_src=02:00:00:00:00:01,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00'],
    ],
    [{ src: '10.0.0.0/8' }, ['ip,nw_src=10.0.0.0/8']],
    [{ src: '0.0.0.0/0' }, ['ip']],
    [{ dst: '2001:db8::/32' }, ['ipv6,ipv6_dst=2001:db8::/32']],
    [{ protocol: 'tcp' }, ['tcp', 'tcp6']],
    [{ protocol: 'udp', etherType: 'ipv6' }, ['udp6']],
    [{ protocol: 'icmp', icmpType: 8 }, ['icmp,nw_frag=not_later,icmp_type=8']],
    [{ protocol: 'icmpv6', icmpType: 135, icmpCode: 0 }, ['icmp6,nw_frag=not_later,icmp_type=135,icmp_code=0']],
    [{ protocol: 'tcp', dst: '10.0.0.1', dstPorts: '80' }, ['tcp,nw_dst=10.0.0.1,nw_frag=not_later,tp_dst=80']],
    [{ protocol: 47, etherType: 'ipv4' }, ['ip,nw_proto=47']],
    [{ arpOp: 1, arpTarget: '10.0.0.1' }, ['arp,arp_tpa=10.0.0.1,arp_op=1']],
    [{ etherType: 0x88cc }, ['dl_type=0x88cc']],
    [{ etherType: 'rarp' }, ['rarp']],
  ];
  for (const [rule, expected] of cases) assert.deepEqual(matchesOf(rule), expected);
});

test('port ranges become prefixes, in both directions their product', () => {
  assert.equal(matchesOf({ protocol: 'tcp', etherType: 'ipv4', srcPorts: '1024-65535' }).length, 6);
  assert.equal(
    matchesOf({ protocol: 'tcp', etherType: 'ipv4', srcPorts: '1024-65535', dstPorts: '8000-8001' }).length,
    6,
  );
  assert.deepEqual(matchesOf({ protocol: 'sctp', etherType: 'ipv4', dstPorts: '0-65535' }), ['sctp,nw_frag=not_later']);
});

test('what Open vSwitch cannot see fits nothing', () => {
  assert.deepEqual(matchesOf({ arpOp: 300 }), []);
});

test('a VLAN is asked of its register', () => {
  assert.deepEqual(ruleMatches({ vlan: 7 }), [{ fields: {}, registers: { vlan: 7 } }]);
});
