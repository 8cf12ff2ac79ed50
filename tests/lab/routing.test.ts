import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startCapture } from '../../src/lab/capture.ts';
import { type Datacentre, eventually, isSilent, pings, sleep, startDatacentre } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { startLossless, undropped } from './lossless.ts';
import { ask, serve, unanswered } from './services.ts';
import { acme, member, networks, outsider, outsideWorkload, workload } from './tenancy.ts';

/** Routers in a datacentre; MidoNet's scenarios 9 to 16 are among these. */
describe('a router', { skip: needsRoot }, () => {
  let dc: Datacentre;
  const put = async (...objects: object[]): Promise<void> => {
    await dc.weft.client.post('/v1/apply', { objects });
    await dc.weft.client.get('/v1/sync');
  };
  /** What the router always knows beside what a test tells it. */
  const FAR = { to: '10.0.4.0/24', via: '10.255.0.2' };
  const router = (more: { readonly routes?: readonly object[]; readonly [field: string]: unknown } = {}) =>
    acme('router', 'r', { ...more, routes: [FAR, ...(more.routes ?? [])] });
  const beyond = { allowedPairs: [{ address: '198.51.100.0/24' }] };

  before(async () => {
    dc = await startDatacentre({
      prefix: 'rt',
      hosts: ['east', 'west'],
      objects: [
        ...networks({ routes: [FAR] }),
        member('a1'),
        member('a2'),
        member('b1', beyond),
        member('b2', { ...beyond, allowedPairs: [...beyond.allowedPairs, { address: '10.0.2.50' }] }),
        outsider('o1', 1),
        acme('switch', 'small', {
          mtu: 1280,
          subnets: [{ cidr: '10.0.3.0/24' }, { cidr: 'fd00:3::/64', ipv6Mode: 'stateful' }],
        }),
        acme('routerPort', 'small', { router: 'r', switch: 'small', addresses: ['10.0.3.1/24', 'fd00:3::1/64'] }),
        acme('port', 's1', { switch: 'small', addresses: ['10.0.3.11', 'fd00:3::11'] }),
        acme('router', 'far', { routes: [{ to: '10.0.0.0/16', via: '10.255.0.1' }] }),
        acme('routerPort', 'far', { router: 'r', addresses: ['10.255.0.1/30'] }),
        acme('routerPort', 'near', { router: 'far', peer: 'r/far', addresses: ['10.255.0.2/30'] }),
        acme('switch', 'd', { subnets: [{ cidr: '10.0.4.0/24' }] }),
        acme('routerPort', 'd', { router: 'far', switch: 'd', addresses: ['10.0.4.1/24'] }),
        acme('port', 'd1', { switch: 'd', addresses: ['10.0.4.11'] }),
      ],
      workloads: [
        workload('a1', 'east'),
        workload('a2', 'west'),
        workload('b1', 'west'),
        workload('b2', 'east'),
        outsideWorkload('o1', 1, 'west'),
        {
          name: 's1',
          host: 'west',
          port: 'acme/s1',
          addresses: ['10.0.3.11/24', 'fd00:3::11/64'],
          gateways: ['10.0.3.1', 'fd00:3::1'],
        },
        { name: 'd1', host: 'west', port: 'acme/d1', addresses: ['10.0.4.11/24'], gateways: ['10.0.4.1'] },
      ],
    });
  });
  after(() => dc?.down());

  /** b1 and b2 both answer for addresses of a network beyond them. */
  async function holdBeyond(): Promise<void> {
    for (const place of ['b1', 'b2'])
      for (let n = 1; n < 13; n++)
        await dc.lab.execOk(place, ['ip', 'addr', 'replace', `198.51.100.${n}/32`, 'dev', 'lo']);
  }

  /** Who of b1 and b2 hears pings to this address, which are answered? */
  async function hears(address: string, from = 'a1'): Promise<string> {
    const ears = await Promise.all(
      ['b1', 'b2'].map((place) =>
        startCapture(dc.lab, place, 'eth0', { filter: `icmp[icmptype]=8 and dst ${address}` }),
      ),
    );
    assert.ok(await pings(dc.lab, from, address), `${address} answers`);
    const heard = await Promise.all(ears.map(async (ear) => (await ear.stop()).captured));
    return ['b1', 'b2'].filter((_, i) => heard[i]! > 0).join(' and ');
  }

  test('joins networks, on one host and across hosts, in both families, with frames of every size', async () => {
    for (const address of ['10.0.2.11', '10.0.2.12', 'fd00:2::11', 'fd00:2::12'])
      assert.ok(await pings(dc.lab, 'a1', address), address);
    assert.ok(await pings(dc.lab, 'a1', '10.0.2.11', 4000), 'fragments over IPv4');
    assert.ok(await pings(dc.lab, 'a1', 'fd00:2::11', 4000), 'fragments over IPv6');
    const streams = await startLossless(dc.lab, [{ from: 'a1', to: 'b1', address: '10.0.2.11', pps: 5000 }]);
    await sleep(1000);
    await streams.stop('through a router');
  });

  test('answers pings at every address that it has', async () => {
    for (const address of ['10.0.1.1', '10.0.2.1', 'fd00:1::1', 'fd00:2::1', '203.0.113.1'])
      assert.ok(await pings(dc.lab, 'a1', address), address);
    assert.ok(await pings(dc.lab, 'o1', '203.0.113.1'), 'from outside');
  });

  test('is seen by traceroute, as is a second router behind it', async () => {
    const hops = async (address: string): Promise<string[]> => {
      const text = await dc.lab.execOk('a1', ['busybox', 'traceroute', '-n', '-q', '1', '-w', '2', '-m', '6', address]);
      return text
        .split('\n')
        .slice(1)
        .flatMap((line) => line.trim().split(/\s+/)[1] ?? []);
    };
    assert.deepEqual(await hops('10.0.2.11'), ['10.0.1.1', '10.0.2.11']);
    assert.deepEqual(await hops('10.0.4.11'), ['10.0.1.1', '10.255.0.2', '10.0.4.11']);
  });

  test('says at once what it does not offer and where it knows no way', async () => {
    assert.equal((await ask(dc.lab, 'a1', 'tcp', '10.0.1.1', 80)).why, 'ECONNREFUSED');
    assert.equal((await ask(dc.lab, 'a1', 'udp', '10.0.1.1', 80)).why, 'ECONNREFUSED');
    const nowhere = await dc.lab.exec('a1', ['ping', '-c', '1', '-W', '2', '192.0.2.77']);
    assert.match(nowhere.stdout, /From 10\.0\.1\.1.*Unreachable/);
    const nowhere6 = await dc.lab.exec('a1', ['ping', '-c', '1', '-W', '2', '2001:db8:77::1']);
    assert.match(nowhere6.stdout, /From fd00:1::1.*(No route|[Uu]nreachable)/);
  });

  test('says how large packets may be where the next network takes less', async () => {
    const big = await dc.lab.exec('a1', ['ping', '-c', '1', '-W', '2', '-M', 'do', '-s', '1300', '10.0.3.11']);
    assert.match(big.stdout + big.stderr, /mtu ?= ?1280/);
    await serve(dc.lab, 's1', 'tcp', 80);
    assert.equal((await ask(dc.lab, 'a1', 'tcp', '10.0.3.11', 80)).by, 's1');
    const sink = dc.lab.spawn('s1', ['sh', '-c', 'busybox nc -l -p 5000 | wc -c']);
    let received = '';
    sink.stdout?.on('data', (text) => {
      received += text;
    });
    await eventually('the listener', 3000, async () =>
      (await dc.lab.execOk('s1', ['cat', '/proc/net/tcp', '/proc/net/tcp6'])).includes(':1388 '),
    );
    await dc.lab.execOk('a1', ['sh', '-c', 'head -c 300000 /dev/zero | busybox nc -w 3 10.0.3.11 5000']);
    await eventually('all of it', 5000, async () => received.trim() === '300000');
    assert.ok(await pings(dc.lab, 'a1', 'fd00:3::11', 1400), 'IPv6 learns the size');
  });

  test('finds by ARP who has an address that no port has as its own', async () => {
    await dc.lab.execOk('b2', ['ip', 'addr', 'add', '10.0.2.50/24', 'dev', 'eth0']);
    const first = await dc.lab.exec('a1', ['ping', '-c', '3', '-i', '0.3', '-W', '2', '10.0.2.50']);
    assert.match(first.stdout, / 3 received/, first.stdout);
  });

  test('takes the longest prefix, then the lowest metric, and shares equal routes out', async () => {
    await holdBeyond();
    const via = (to: string, n: number, metric = 100) => ({ to, via: `10.0.2.1${n}`, metric });
    await put(router({ routes: [via('198.51.100.0/24', 1, 50), via('198.51.100.0/24', 2, 60)] }));
    assert.equal(await hears('198.51.100.1'), 'b1', 'metric');
    await put(router({ routes: [via('198.51.100.0/24', 1, 50), via('198.51.100.0/28', 2, 60)] }));
    assert.equal(await hears('198.51.100.1'), 'b2', 'prefix');
    await put(router({ routes: [via('198.51.100.0/24', 1), via('198.51.100.0/24', 2)] }));
    const used = new Set(await Promise.all(Array.from({ length: 12 }, (_, n) => hears(`198.51.100.${n + 1}`))));
    assert.deepEqual([...used].sort(), ['b1', 'b2'], 'equal routes');
    await put(router());
  });

  test('takes routes by source before those for all, refuses by a reject route, and drops by a blackhole', async () => {
    await holdBeyond();
    const to = '198.51.100.0/24';
    const all = { to, via: '10.0.2.11' };
    await put(router({ routes: [all, { to, from: '10.0.1.12/32', via: '10.0.2.12' }] }));
    assert.equal(await hears('198.51.100.1', 'a1'), 'b1');
    assert.equal(await hears('198.51.100.1', 'a2'), 'b2', 'by its source');
    await put(router({ routes: [all, { to, from: '10.0.1.12/32', action: 'reject' }] }));
    assert.equal(await hears('198.51.100.1', 'a1'), 'b1');
    const refused = await dc.lab.exec('a2', ['ping', '-c', '1', '-W', '2', '198.51.100.1']);
    assert.match(refused.stdout, /From 10\.0\.1\.1.*Unreachable/);
    assert.equal((await ask(dc.lab, 'a2', 'tcp', '198.51.100.1', 80)).why, 'ENETUNREACH');
    await put(router({ routes: [{ to, action: 'blackhole' }] }));
    assert.ok(await isSilent(dc.lab, 'a1', '198.51.100.1'), 'blackhole');
    await put(router());
  });

  test('keeps to the weights of next hops, however far apart', async () => {
    const to = '198.51.100.0/24';
    /** How many of 256 destinations each next hop hears of, once each has heard of as many as it should. */
    const heard = (wanted: readonly number[]): Promise<number[]> =>
      undropped(dc.lab, async () => {
        const ears = await Promise.all(
          ['b1', 'b2'].map((place) => startCapture(dc.lab, place, 'eth0', { filter: 'udp dst port 9' })),
        );
        const send = 'for n in $(seq 0 255); do echo > /dev/udp/198.51.100.$n/9; done';
        await dc.lab.execOk('a1', ['bash', '-c', send]);
        await Promise.all(ears.map((ear, n) => ear.reaches(wanted[n]!)));
        return Promise.all(ears.map(async (ear) => (await ear.stop()).captured));
      });
    for (const [weights, wanted] of [
      [
        [1, 1],
        [128, 128],
      ],
      [
        [1, 3],
        [64, 192],
      ],
      [
        [1, 32],
        [8, 248],
      ],
      [
        [100, 1],
        [252, 4],
      ],
    ] as const) {
      const routes = weights.map((weight, n) => ({ to, via: `10.0.2.1${n + 1}`, weight }));
      await put(router({ routes }));
      assert.deepEqual(await heard(wanted), wanted, `weights ${weights.join(':')}`);
    }
    await put(router());
  });

  test('obeys policies before its routes: the first that fits drops, sends another way, or leaves it to the routes', async () => {
    await holdBeyond();
    for (const port of [8081, 8082, 8083]) for (const place of ['b1', 'b2']) await serve(dc.lab, place, 'tcp', port);
    const whoServes = async (from: string, port: number): Promise<string | undefined> =>
      (await ask(dc.lab, from, 'tcp', '198.51.100.1', port)).by;
    const policy = (position: number, match: object, action: string, more: object = {}) => ({
      ...{ position, match, action, ...more },
    });
    const routes = [{ to: '198.51.100.0/24', via: '10.0.2.11' }];
    const policies = [
      policy(10, { src: '10.0.1.12/32', protocol: 'tcp', dstPorts: 8082 }, 'allow'),
      policy(20, { src: '10.0.1.0/24', protocol: 'tcp', dstPorts: 8081 }, 'drop'),
      policy(30, { src: '10.0.1.0/24', protocol: 'tcp', dstPorts: 8082 }, 'reroute', { via: '10.0.2.12' }),
    ];
    await put(router({ routes, policies }));
    assert.ok(await unanswered(dc.lab, 'a1', 'tcp', '198.51.100.1', 8081), 'drop');
    assert.equal(await whoServes('a1', 8082), 'b2', 'reroute');
    assert.equal(await whoServes('a2', 8082), 'b1', 'allowed before it would be sent another way');
    assert.equal(await whoServes('a1', 8083), 'b1', 'what no policy fits');
    await put(router({ routes }));
    assert.equal(await whoServes('a1', 8081), 'b1');
    assert.equal(await whoServes('a1', 8082), 'b1');
    await put(router());
  });

  test('without its port a network is out of reach, and back with it', async () => {
    assert.ok(await pings(dc.lab, 'a1', '10.0.2.11'));
    await dc.weft.client.request('DELETE', '/v1/router-ports/r%2Fb?tenant=acme');
    await dc.weft.client.get('/v1/sync');
    assert.ok(await isSilent(dc.lab, 'a1', '10.0.2.11'));
    await put(acme('routerPort', 'b', { router: 'r', switch: 'b', addresses: ['10.0.2.1/24', 'fd00:2::1/64'] }));
    // The workload keeps the former port's MAC in its cache until it asks again.
    for (const place of ['b1', 'b2']) await dc.lab.execOk(place, ['ip', 'neigh', 'flush', 'all']);
    await eventually('the network', 5000, () => pings(dc.lab, 'a1', '10.0.2.11'));
  });

  test('an interface that was down works again when it is up', async () => {
    await dc.lab.execOk('b2', ['ip', 'link', 'set', 'eth0', 'down']);
    assert.ok(await isSilent(dc.lab, 'a1', '10.0.2.12'));
    await dc.lab.execOk('b2', ['ip', 'link', 'set', 'eth0', 'up']);
    await dc.lab.execOk('b2', ['ip', 'route', 'replace', 'default', 'via', '10.0.2.1']);
    await eventually('the interface', 5000, () => pings(dc.lab, 'a1', '10.0.2.12'));
  });

  test('that is administratively down passes nothing', async () => {
    await put(router({ adminUp: false }));
    assert.ok(await isSilent(dc.lab, 'a1', '10.0.2.12'));
    await put(router());
    assert.ok(await pings(dc.lab, 'a1', '10.0.2.12'));
  });

  test('lets nothing in from outside that is not translated', async () => {
    await dc.lab.execOk('o1', ['ip', 'route', 'add', '10.0.0.0/16', 'via', '203.0.113.1']);
    assert.ok(await isSilent(dc.lab, 'o1', '10.0.2.12'));
  });
});
