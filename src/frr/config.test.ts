import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { WeftError } from '../base/errors.ts';
import type { PrefixEntry } from '../base/prefix-lists.ts';
import { DAEMONS, DEFAULT_BFD, formatConfig, type SpeakerConfig, type SpeakerPeer } from './config.ts';
import { commandLines, configDifference } from './config-difference.ts';
import { inwardsName } from './policies.ts';

// The product's output, for review: run with WEFT_GOLDEN=write to accept what has changed.

const upstream: SpeakerPeer = {
  address: '192.0.2.1',
  asn: 65_010,
  password: 'pass|word!',
  bfd: DEFAULT_BFD,
  keepaliveS: 3,
  holdS: 9,
  maxPrefixes: 200_000,
  families: ['ipv4'],
  adminUp: true,
};
const second: SpeakerPeer = {
  ...upstream,
  address: '2001:db8:0::1',
  asn: 65_020,
  password: undefined,
  families: ['ipv4', 'ipv6'],
  accept: [
    '0.0.0.0/0',
    '2001:db8::/32',
    '2001:db8:ffff::1/128',
    { network: '::/0' },
    { network: '2001:db8:1::/48', ge: 56, le: 64 },
    { network: '2001:db8:2::/48', ge: 64 },
    { network: '2001:db8:3::/48', le: 64 },
  ],
  advertise: ['203.0.113.0/24', { network: '2001:db8:100::/48' }],
  communities: ['65001:100', 'no-export'],
};
const far: SpeakerPeer = {
  ...upstream,
  address: '198.51.100.7',
  multihop: 4,
  bfd: undefined,
  adminUp: false,
  families: ['ipv4'],
};
const config: SpeakerConfig = {
  routerId: '192.0.2.2',
  asn: 65_001,
  fpmPort: 2620,
  interfaces: [{ name: 'up-1', addresses: ['192.0.2.2/30', '2001:db8::2/64'] }],
  peers: [upstream, second, far],
  networks: ['203.0.113.9/32', '203.0.113.0/24', '2001:db8:100::/48', '203.0.113.9/32'],
  routes: [{ to: '198.51.100.0/24', via: '192.0.2.1' }],
};

/** All files under one another, or commands with the sections that they stand in. */
function golden(name: string, text: string): void {
  const file = join(import.meta.dirname, 'golden', `${name}.golden`);
  if (process.env.WEFT_GOLDEN === 'write') writeFileSync(file, text);
  assert.equal(text, readFileSync(file, 'utf8'));
}

function commands(before: SpeakerConfig, after: SpeakerConfig): string {
  const [old, wanted] = [formatConfig(before), formatConfig(after)];
  return DAEMONS.map((daemon) => {
    const lines = commandLines(configDifference(old[daemon], wanted[daemon]));
    return lines.length === 0 ? '' : `# ${daemon}\n${lines.map((l) => l.line).join('\n')}\n`;
  }).join('');
}

test('configuration of every daemon, golden', () => {
  const files = formatConfig(config);
  golden('config', DAEMONS.map((daemon) => `# ${daemon}\n${files[daemon]}`).join('\n'));
});

test('a password stands in the configuration of bgpd and nowhere else', () => {
  const files = formatConfig(config);
  assert.deepEqual(
    DAEMONS.filter((daemon) => files[daemon].includes(upstream.password!)),
    ['bgpd'],
  );
});

test('what is not one word of FRR’s language is refused, without telling the password', () => {
  const wrong: [Partial<SpeakerConfig>, RegExp][] = [
    [{ routerId: '192.0.2' }, /router id/],
    [{ asn: 0 }, /AS 0/],
    [{ networks: ['203.0.113.0/24\nno router bgp'] }, /network/],
    [{ interfaces: [{ name: 'a b', addresses: [] }] }, /interface/],
    [{ peers: [upstream, { ...upstream }] }, /peer 192.0.2.1/],
    [{ peers: [{ ...upstream, password: 'secret\nend' }] }, /password of peer/],
    [{ peers: [{ ...upstream, accept: ['10.0.0.0/8 le 9'] }] }, /10\.0\.0\.0\/8 le 9/],
    [{ peers: [{ ...upstream, accept: [{ network: '10.0.0.0/8', ge: 7 }] }] }, /"ge":7/],
    [{ peers: [{ ...upstream, advertise: [{ network: '10.0.0.0/8', ge: 24, le: 23 }] }] }, /"le":23/],
    [{ peers: [{ ...upstream, advertise: [{ network: '10.0.0.0/8', le: 33 }] }] }, /"le":33/],
    [{ peers: [{ ...upstream, communities: ['x y'] }] }, /community/],
    [{ peers: [{ ...upstream, bfd: { multiplier: 1, intervalMs: 100 } }] }, /BFD/],
  ];
  for (const [change, says] of wrong)
    assert.throws(
      () => formatConfig({ ...config, ...change }),
      (e) => e instanceof WeftError && e.code === 'invalid' && says.test(e.message) && !e.message.includes('secret'),
    );
});

test('an equal configuration needs no command, and order means nothing', () => {
  assert.equal(commands(config, config), '');
  assert.equal(commands(config, { ...config, networks: [...config.networks].reverse() }), '');
});

test('a network more and one less touch nothing else', () => {
  const networks = ['203.0.113.0/24', '203.0.113.10/32', '2001:db8:100::/48'];
  assert.equal(
    commands(config, { ...config, networks }),
    [
      '# bgpd',
      'router bgp 65001',
      'address-family ipv4 unicast',
      'no network 203.0.113.9/32',
      'network 203.0.113.10/32',
      'exit-address-family',
      'exit\n',
    ].join('\n'),
  );
});

test('a peer that goes takes its lines along', () => {
  const without = commands(config, { ...config, peers: [upstream, far] });
  assert.match(without, /^no neighbor 2001:db8::1$/m);
  assert.doesNotMatch(without, /no neighbor 2001:db8::1 /);
  assert.match(without, /^no network 2001:db8:100::\/48$/m, 'nobody is left in that family');
});

test('a peer that comes is held down until all of it is said', () => {
  const lines = commands({ ...config, peers: [upstream, far] }, config).split('\n');
  const at = (line: string): number => lines.indexOf(line);
  assert.equal(at('neighbor 2001:db8::1 shutdown'), at('neighbor 2001:db8::1 remote-as 65020') + 1);
  const last = lines.findLastIndex((l) => l.startsWith('neighbor 2001:db8::1'));
  assert.ok(last > 0 && at('no neighbor 2001:db8::1 shutdown') > last);
  assert.ok(at(`route-map weft-out-${/weft-out-(\w+)/.exec(lines.join('\n'))![1]} permit 10`) < at('router bgp 65001'));
  assert.equal(lines.filter((l) => l.includes('192.0.2.1 ')).length, 0, 'the others are not touched');
});

test('changed values replace the old, golden', () => {
  const changed: SpeakerConfig = {
    ...config,
    fpmPort: 2621,
    peers: [
      { ...upstream, password: 'other', keepaliveS: 10, holdS: 30, bfd: { multiplier: 5, intervalMs: 200 } },
      { ...second, asn: 65_021, accept: undefined, advertise: undefined, communities: [] },
      { ...far, adminUp: true, password: undefined },
    ],
    routes: [{ to: '198.51.100.0/24', via: '192.0.2.5' }],
  };
  golden('difference', commands(config, changed));
});

test('another AS is another router, made when the old one is gone', () => {
  const lines = commands(config, { ...config, asn: 65_009 }).split('\n');
  assert.ok(lines.indexOf('no router bgp 65001') >= 0);
  assert.ok(lines.indexOf('no router bgp 65001') < lines.indexOf('router bgp 65009'));
  assert.ok(lines.includes('neighbor 192.0.2.1 password pass|word!'));
});

test('BFD without BGP: no bgpd, and sessions that name both ends', () => {
  const bfd = { address: '192.0.2.1', local: '192.0.2.2', interface: 'bg1', multiplier: 3, intervalMs: 200 };
  const files = formatConfig({ ...config, asn: 0, peers: [], networks: [], bfdPeers: [bfd] });
  assert.ok(!files.bgpd.includes('router bgp'));
  assert.match(
    files.bfdd,
    / peer 192\.0\.2\.1 local-address 192\.0\.2\.2 interface bg1\n {2}profile weft-3x200\n exit/,
  );
  assert.throws(
    () => formatConfig({ ...config, asn: 0, peers: [], bfdPeers: [{ ...bfd, interface: 'bg1 x', intervalMs: 1 }] }),
    /interface of BFD with 192\.0\.2\.1; intervals/,
  );
});

test('what a peer is told by one that leaves is to be used last', () => {
  const { bgpd } = formatConfig({ ...config, peers: [{ ...second, isLeaving: true }] });
  assert.match(bgpd, /set community 65001:100 no-export graceful-shutdown\n set as-path prepend 65001 65001 65001/);
  assert.match(bgpd, /neighbor 2001:db8::1 route-map weft-leave-[0-9a-f]{8} out/);
});

test('lengths of a prefix list: a network alone is with all within it, an entry means what it says', () => {
  const said = (...accept: readonly PrefixEntry[]): readonly string[] => {
    const { bgpd } = formatConfig({ ...config, peers: [{ ...upstream, accept }] });
    const name = /match ip address prefix-list (\S+)/.exec(bgpd)![1]!;
    const lines = bgpd.split('\n').filter((line) => line.startsWith(`ip prefix-list ${name} `));
    return lines.map((line) => line.replace(/.* (permit|deny) /, '$1 '));
  };
  const network = '10.0.0.0/8';
  assert.deepEqual(said(network), ['permit 10.0.0.0/8 le 32']);
  assert.deepEqual(said('10.0.0.1/32', { network: '0.0.0.0/0' }), ['permit 10.0.0.1/32', 'permit 0.0.0.0/0']);
  assert.deepEqual(said({ network }, { network, ge: 8, le: 8 }), ['permit 10.0.0.0/8', 'permit 10.0.0.0/8']);
  assert.deepEqual(said({ network, ge: 16 }), ['permit 10.0.0.0/8 ge 16 le 32']);
  assert.deepEqual(said({ network, le: 24 }, { network, ge: 8 }), [
    'permit 10.0.0.0/8 le 24',
    'permit 10.0.0.0/8 le 32',
  ]);
  assert.deepEqual(said({ network, ge: 24, le: 24 }), ['permit 10.0.0.0/8 ge 24 le 24']);
  assert.deepEqual(said(), ['deny any']);
});

test('peers with the same policy share its lists; what each refuses is counted by itself', () => {
  const accept = ['10.0.0.0/8'];
  const peers = [upstream, far].map((peer) => ({ ...peer, accept, advertise: accept }));
  const { bgpd } = formatConfig({ ...config, peers });
  assert.equal(bgpd.match(/^ip prefix-list \S+ seq 5 permit 10\.0\.0\.0\/8 le 32$/gm)?.length, 1);
  const names = peers.map((peer) => inwardsName(peer, 'ipv4'));
  assert.notEqual(names[0], names[1]);
  for (const name of names)
    assert.match(bgpd, new RegExp(`^route-map ${name} deny 20\n match ip address prefix-list \\S+\nexit$`, 'm'));
});

test('routes outlive a restart where there is no BFD, unless a peer says otherwise', () => {
  const isOff = (more: Partial<SpeakerPeer>): boolean => {
    const { bgpd } = formatConfig({ ...config, peers: [{ ...upstream, ...more }] });
    // What one peer wants the instance has to do.
    assert.equal(/^ bgp graceful-restart$/m.test(bgpd), !bgpd.includes('graceful-restart-disable'));
    return bgpd.includes('neighbor 192.0.2.1 graceful-restart-disable');
  };
  assert.deepEqual([isOff({}), isOff({ bfd: undefined })], [true, false]);
  assert.deepEqual(
    [isOff({ gracefulRestart: true }), isOff({ bfd: undefined, gracefulRestart: false })],
    [false, true],
  );
});
