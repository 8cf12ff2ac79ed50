// Measures: runs in pairs.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { LoadBalancerStatus } from '../../src/server/present.ts';
import { type Datacentre, eventually, startDatacentre } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { serve, tally } from './services.ts';

/**
 * Probes of members, of every kind, at real servers. Two tenants have the same addresses, and their members are on the same hosts: what one's
 * does says nothing of the other's.
 */
const TENANTS = ['acme', 'beta'] as const;
const CHECK = { intervalMs: 500, timeoutMs: 300, rise: 2, fall: 3 } as const;
const OUT_MS = CHECK.fall * CHECK.intervalMs + CHECK.timeoutMs;
const BACK_MS = CHECK.rise * CHECK.intervalMs + CHECK.timeoutMs;
/** For reports, and a busy machine. */
const SLACK_MS = 1_500;
const PORTS = { tcp: 8080, http: 8081, udp: 5300 } as const;
const KINDS = ['tcp', 'http', 'udp', 'icmp'] as const;
type Kind = (typeof KINDS)[number];

/** HTTP that answers with this status. */
const HTTP = `const [status, port] = process.argv.slice(1).map(Number);
require('node:http').createServer((_, answer) => answer.writeHead(status).end()).listen(port, () => console.log('ready'));`;

/** Both members of a tenant are .11 (on east) and .12 (on west), its client .10; a balancer for each kind of probe. */
function networkOf(tenant: string): Record<string, unknown>[] {
  const own = (kind: string, name: string, more: object): Record<string, unknown> => ({ kind, tenant, name, ...more });
  const port = (name: string, n: number) => own('port', name, { switch: 'lan', addresses: [`10.0.1.1${n}`] });
  return [
    { kind: 'tenant', name: tenant },
    own('switch', 'lan', { subnets: [{ cidr: '10.0.1.0/24' }] }),
    own('router', 'r', {}),
    own('routerPort', 'lan', { router: 'r', switch: 'lan', addresses: ['10.0.1.1/24'] }),
    ...[port('client', 0), port('m1', 1), port('m2', 2)],
    ...KINDS.map((kind, n) =>
      own('loadBalancer', kind, {
        ...{
          address: `10.0.9.${n + 1}`,
          router: 'r',
          listeners: [{ protocol: 'tcp', port: 80, memberPort: PORTS.tcp }],
        },
        members: [{ port: 'm1' }, { port: 'm2' }],
        health: { type: kind, ...CHECK, ...(kind === 'icmp' ? {} : { port: PORTS[kind] }) },
      }),
    ),
  ];
}

/** A switch without a router, whose workloads have no gateway: in VLAN 5, with a VIP of each IP version. */
const ISLAND = { client: 0, m1: 1, m2: 2 } as const;
const ISLAND_VIPS = { four: '10.0.5.80', six: '2001:db8:5::80' } as const;
function island(): Record<string, unknown>[] {
  const own = (kind: string, name: string, more: object): Record<string, unknown> => ({ kind, tenant: 'acme', name, ...more }); // biome-ignore format: short
  const subnets = ['10.0.5.0/24', '2001:db8:5::/64'].map((cidr) => ({ cidr, vlan: 5, dhcp: { enabled: false } }));
  return [
    own('switch', 'island', { vlanAware: true, subnets }),
    ...Object.entries(ISLAND).map(([name, n]) =>
      own('port', `island-${name}`, {
        ...{ switch: 'island', vlan: { access: 5 }, addresses: [`10.0.5.1${n}`, `2001:db8:5::1${n}`] },
      }),
    ),
    ...Object.entries(ISLAND_VIPS).map(([name, address]) =>
      own('loadBalancer', name, {
        ...{ address, switch: 'island', members: [{ port: 'island-m1' }, { port: 'island-m2' }] },
        // Probes over TCP ask at 8080, though that is not listed first.
        listeners: [
          { protocol: 'udp', port: 53 },
          { protocol: 'tcp', port: 80, memberPort: PORTS.tcp },
        ],
        health: { type: 'tcp', ...CHECK },
      }),
    ),
  ];
}

describe('probes of members', { skip: needsRoot }, () => {
  let dc: Datacentre;
  /** By `place kind`: takes the service down. */
  const stops = new Map<string, () => Promise<void>>();

  const serveHttp = async (place: string, status: number): Promise<{ stop(): Promise<void> }> => {
    const child = dc.lab.spawn(place, [process.execPath, '-e', HTTP, String(status), String(PORTS.http)]);
    const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
    await new Promise((resolve) => child.stdout!.once('data', resolve));
    return {
      stop: () => {
        child.kill('SIGKILL');
        return gone;
      },
    };
  };
  const start: Readonly<Record<Kind, (place: string) => Promise<void>>> = {
    tcp: async (place) => void stops.set(`${place} tcp`, (await serve(dc.lab, place, 'tcp', PORTS.tcp)).stop),
    udp: async (place) => void stops.set(`${place} udp`, (await serve(dc.lab, place, 'udp', PORTS.udp)).stop),
    http: async (place) => void stops.set(`${place} http`, (await serveHttp(place, 204)).stop),
    icmp: async (place) => void (await ignoresPings(place, false)),
  };
  const fail: Readonly<Record<Kind, (place: string) => Promise<void>>> = {
    tcp: (place) => stops.get(`${place} tcp`)!(),
    udp: (place) => stops.get(`${place} udp`)!(),
    http: async (place) => {
      await stops.get(`${place} http`)!();
      stops.set(`${place} http`, (await serveHttp(place, 503)).stop);
    },
    icmp: (place) => ignoresPings(place, true),
  };
  const mend: Readonly<Record<Kind, (place: string) => Promise<void>>> = {
    ...start,
    http: async (place) => {
      await stops.get(`${place} http`)!();
      await start.http(place);
    },
  };
  const ignoresPings = async (place: string, isSo: boolean): Promise<void> => {
    const file = '/proc/sys/net/ipv4/icmp_echo_ignore_all';
    await dc.lab.execOk(place, ['sh', '-c', `echo ${isSo ? 1 : 0} > ${file}`]);
  };

  /** States of m1 and m2 of all balancers of a tenant. */
  const states = async (tenant: string): Promise<Readonly<Record<Kind, string>>> => {
    const shown = await Promise.all(
      KINDS.map(async (kind) => {
        const path = `/v1/load-balancers/${kind}`;
        const { status } = await dc.weft.client.get<{ status: LoadBalancerStatus }>(path, { query: { tenant } });
        return [kind, status.members.map(({ state }) => state).join(' ')] as const;
      }),
    );
    return Object.fromEntries(shown) as Record<Kind, string>;
  };
  const all = (state: string): Record<Kind, string> =>
    Object.fromEntries(KINDS.map((kind) => [kind, state])) as Record<Kind, string>;

  before(async () => {
    dc = await startDatacentre({
      prefix: 'mh',
      hosts: ['east', 'west'],
      objects: [...TENANTS.flatMap(networkOf), ...island()],
      workloads: [
        ...TENANTS.flatMap((tenant) =>
          ['client', 'm1', 'm2'].map((name, n) => ({
            ...{ name: `${tenant}-${name}`, host: name === 'm2' ? 'west' : 'east', port: `${tenant}/${name}` },
            ...{ addresses: [`10.0.1.1${n}/24`], gateways: ['10.0.1.1'] },
          })),
        ),
        ...Object.entries(ISLAND).map(([name, n]) => ({
          ...{ name: `island-${name}`, host: name === 'm2' ? 'west' : 'east', port: `acme/island-${name}` },
          addresses: [`10.0.5.1${n}/24`, `2001:db8:5::1${n}/64`],
        })),
      ],
    });
    const members = TENANTS.flatMap((tenant) => [`${tenant}-m1`, `${tenant}-m2`]);
    await Promise.all(members.flatMap((place) => KINDS.map((kind) => start[kind](place))));
    await Promise.all(['island-m1', 'island-m2'].map(start.tcp));
    for (const tenant of TENANTS)
      await eventually(`all of ${tenant} serve`, 20_000, async () => {
        const now = await states(tenant);
        return KINDS.every((kind) => now[kind] === 'serving serving');
      });
  });
  after(() => dc?.down());

  for (const kind of KINDS)
    test(`${kind}: take out who fails, and bring it back, in time, and nobody else`, async () => {
      const told = async (what: string, wanted: string, withinMs: number): Promise<void> => {
        const beganMs = performance.now();
        await eventually(what, 20_000, async () => (await states('acme'))[kind] === wanted);
        const tookMs = performance.now() - beganMs;
        assert.ok(tookMs < withinMs + SLACK_MS, `${what}: took ${Math.round(tookMs)} ms`);
        assert.deepEqual(await states('acme'), { ...all('serving serving'), [kind]: wanted });
        assert.deepEqual(await states('beta'), all('serving serving'));
      };
      await fail[kind]('acme-m1');
      await told('it is out', 'unhealthy serving', OUT_MS);
      const vip = `10.0.9.${KINDS.indexOf(kind) + 1}`;
      assert.deepEqual([...(await tally(dc.lab, 'acme-client', vip, 80, 16)).keys()], ['acme-m2']);
      assert.deepEqual([...(await tally(dc.lab, 'beta-client', vip, 80, 16)).keys()].sort(), ['beta-m1', 'beta-m2']);
      await mend[kind]('acme-m1');
      await told('it is back', 'serving serving', BACK_MS);
      assert.deepEqual([...(await tally(dc.lab, 'acme-client', vip, 80, 16)).keys()].sort(), ['acme-m1', 'acme-m2']);
    });

  for (const [name, address] of Object.entries(ISLAND_VIPS))
    test(`IPv${name === 'four' ? 4 : 6}, without a router: find members well that have no gateway, which then serve, themselves too`, async () => {
      const stateOf = async (): Promise<string> => {
        const path = `/v1/load-balancers/${name}`;
        const { status } = await dc.weft.client.get<{ status: LoadBalancerStatus }>(path, {
          query: { tenant: 'acme' },
        });
        return status.members.map(({ state }) => state).join(' ');
      };
      const routes = await dc.lab.execOk('island-m1', ['ip', '-o', 'route', 'show', 'default']);
      assert.equal(routes, '', 'it has no default route');
      await stops.get('island-m1 tcp')!();
      await eventually('one is out', 20_000, async () => (await stateOf()) === 'unhealthy serving');
      await start.tcp('island-m1');
      await eventually('it is found well', 20_000, async () => (await stateOf()) === 'serving serving');
      const both = ['island-m1', 'island-m2'];
      assert.deepEqual([...(await tally(dc.lab, 'island-client', address, 80, 16)).keys()].sort(), both);
      // Also where a member calls from ports as probes have.
      await dc.lab.execOk('island-m1', ['sh', '-c', 'echo 61440 65535 > /proc/sys/net/ipv4/ip_local_port_range']);
      const answers = await tally(dc.lab, 'island-m1', address, 80, 16);
      assert.deepEqual([...answers.keys()].sort(), both);
      assert.equal(await stateOf(), 'serving serving');
    });
});
