// A scenario: runs by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { compareVersions, findOpenVswitch } from '../../src/lab/open-vswitch.ts';
import { type Datacentre, eventually, startDatacentre } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { acme, member, networks, outsider, outsideWorkload, workload } from './tenancy.ts';

/**
 * FTP and TFTP with helpers of connection tracking, by every way to open a data connection (the table in docs/design/decisions.md). Both
 * ends' groups are strict: without a helper no data connection would pass, in either direction.
 */
const END = fileURLToPath(new URL('transfer-end.ts', import.meta.url));
const CONTENT = 'what was asked for';
const WAIT_MS = 4_000;
/** Of what is not to come, two attempts of TCP. */
const BRIEF_MS = 2_000;

type Way = 'pasv' | 'pasv-here' | 'epsv' | 'port' | 'eprt' | 'tftp';
/** What Open vSwitch's userspace helper for FTP reads before 3.7; later EPSV and EPRT over IPv4 too. */
const READ: { readonly 4: readonly Way[]; readonly 6: readonly Way[] } = {
  4: ['pasv', 'port', 'tftp'],
  6: ['epsv', 'eprt', 'tftp'],
};

const server = (more: object[] = []): object => ({
  ingress: [
    { name: 'ftp', protocol: 'tcp', ports: '21', helper: 'ftp' },
    { name: 'tftp', protocol: 'udp', ports: '69', helper: 'tftp' },
    ...more,
  ],
  egress: [{ protocol: 'udp', ports: '53' }],
});
const GROUPS = [
  acme('securityGroup', 'server', server()),
  acme('securityGroup', 'plain-server', {
    ingress: [
      { protocol: 'tcp', ports: '21' },
      { protocol: 'udp', ports: '69' },
    ],
    egress: [{ protocol: 'udp', ports: '53' }],
  }),
  acme('securityGroup', 'client', {
    egress: [
      { protocol: 'tcp', ports: '21', helper: 'ftp' },
      { protocol: 'udp', ports: '69', helper: 'tftp' },
    ],
  }),
  // By the other end: a set of the clients that are helped. At another port than usual.
  acme('addressSet', 'friends', { addresses: ['10.0.2.11', 'fd00:2::11'] }),
  acme('securityGroup', 'friendly', {
    ingress: [
      { protocol: 'tcp', ports: '2100-2199' },
      { protocol: 'tcp', ports: '2121', addressSet: 'friends', helper: 'ftp' },
    ],
    egress: [{ protocol: 'udp', ports: '53' }],
  }),
  acme('chain', 'guard', { policy: 'drop' }),
  acme('rule', 'known', {
    ...{ chain: 'guard', position: 10, action: 'accept' },
    match: { state: ['established', 'related'] },
  }),
  acme('rule', 'ftp', {
    ...{ chain: 'guard', position: 20, action: 'accept', helper: 'ftp' },
    match: { protocol: 'tcp', dstPorts: '21', state: ['new'] },
  }),
  acme('rule', 'tftp', {
    ...{ chain: 'guard', position: 30, action: 'accept', helper: 'tftp' },
    match: { protocol: 'udp', dstPorts: '69', state: ['new'] },
  }),
  acme('rule', 'rest', {
    ...{ chain: 'guard', position: 40, action: 'accept' },
    match: { etherType: 'arp' },
  }),
  acme('rule', 'nd', {
    ...{ chain: 'guard', position: 50, action: 'accept' },
    match: { protocol: 'icmpv6' },
  }),
];

describe('helpers of connection tracking', { skip: needsRoot }, () => {
  let dc: Datacentre;
  let readsExtended4: boolean;

  before(async () => {
    readsExtended4 = compareVersions((await findOpenVswitch()).version, '3.7') >= 0;
    dc = await startDatacentre({
      prefix: 'helpers',
      hosts: ['east', 'west', 'edge'],
      objects: [
        ...networks({
          snat: [
            { from: '10.0.0.0/16', to: '203.0.113.2' },
            { from: 'fd00::/16', to: '2001:db8:f::2' },
          ],
        }),
        ...GROUPS,
        member('a1', { groups: ['server'] }),
        member('a2', { groups: ['client'] }),
        member('a3', { groups: ['plain-server'] }),
        member('a4', { toChain: 'guard', fromChain: 'guard' }),
        member('a5', { groups: ['friendly'] }),
        member('b1', { groups: ['client'] }),
        member('b2', { groups: ['client'] }),
        member('b3', {}),
        acme('floatingAddress', 'f1', { address: '203.0.113.111', router: 'r', port: 'a1' }),
        acme('floatingAddress', 'f6', { address: '2001:db8:f::111', router: 'r', port: 'a1' }),
        acme('floatingAddress', 'g1', { address: '203.0.113.122', router: 'r', port: 'b2' }),
        acme('floatingAddress', 'g6', { address: '2001:db8:f::122', router: 'r', port: 'b2' }),
        outsider('o1', 1),
        outsider('o2', 2),
      ],
      workloads: [
        ...[workload('a1', 'east'), workload('a2', 'west'), workload('a3', 'east'), workload('a4', 'west')],
        ...[workload('a5', 'east'), workload('b1', 'east'), workload('b2', 'west'), workload('b3', 'west')],
        ...[outsideWorkload('o1', 1, 'edge'), outsideWorkload('o2', 2, 'east')],
      ],
    });
    await Promise.all(['a1', 'a3', 'a4', 'a5', 'o1'].map(serve));
  });
  after(() => dc?.down());

  async function serve(place: string): Promise<void> {
    const child = dc.lab.spawn(place, [process.execPath, END, 'serve']);
    let said = '';
    child.stdout?.on('data', (text) => {
      said += String(text);
    });
    await eventually(`${place} to serve`, 10_000, async () => said.includes('ready'));
  }

  /** What came, or why nothing did. */
  async function get(from: string, way: Way, address: string, timeoutMs = WAIT_MS, port = 21): Promise<string> {
    const words = [END, 'get', way, address, String(timeoutMs), String(port)];
    const { stdout } = await dc.lab.exec(from, [process.execPath, ...words]);
    return stdout.trim();
  }

  /** All of these at once; each gives the content, as the server sees this client. */
  async function transfers(from: string, ways: readonly Way[], address: string, seen: string): Promise<void> {
    const got = await Promise.all(ways.map(async (way) => [way, await get(from, way, address)]));
    assert.deepEqual(
      got,
      ways.map((way) => [way, `${CONTENT} ${seen}`]),
      `${from} to ${address}`,
    );
  }

  async function fails(from: string, ways: readonly Way[], address: string, why: RegExp): Promise<void> {
    for (const [way, told] of await Promise.all(
      ways.map(async (way) => [way, await get(from, way, address, BRIEF_MS)] as const),
    ))
      assert.match(told, why, `${from} to ${address} by ${way}`);
  }

  test('neighbours and routed clients: every way that Open vSwitch reads, both IP versions', async () => {
    await transfers('a2', READ[4], '10.0.1.11', '10.0.1.12');
    await transfers('a2', READ[6], 'fd00:1::11', 'fd00:1::12');
    await transfers('b1', READ[4], '10.0.1.11', '10.0.2.11');
    await transfers('b1', READ[6], 'fd00:1::11', 'fd00:2::11');
  });

  test('EPSV and EPRT over IPv4 are read since Open vSwitch 3.7', async () => {
    if (readsExtended4) return transfers('a2', ['epsv', 'eprt'], '10.0.1.11', '10.0.1.12');
    await fails('a2', ['epsv', 'eprt'], '10.0.1.11', /^timeout: data/);
  });

  test('without a helper no data connection passes', async () => {
    await fails('b3', READ[4], '10.0.1.13', /^timeout: (data|connection)/);
    await fails('b3', READ[6], 'fd00:1::13', /^timeout: (data|connection)/);
  });

  test('a rule of a chain: what is related passes, at the server whose chain says so', async () => {
    await transfers('b3', READ[4], '10.0.1.14', '10.0.2.13');
    await transfers('b3', READ[6], 'fd00:1::14', 'fd00:2::13');
  });

  test('a rule for a set of clients helps these alone, at any port', async () => {
    const friend = await get('b1', 'pasv', '10.0.1.15', BRIEF_MS, 2121);
    assert.equal(friend, 'timeout: control', 'b1 may open no connection to that port');
    await dc.weft.client.post('/v1/apply', {
      objects: [
        acme('securityGroup', 'client', {
          egress: [
            { protocol: 'tcp', ports: '21', helper: 'ftp' },
            { protocol: 'tcp', ports: '2121', helper: 'ftp' },
            { protocol: 'udp', ports: '69', helper: 'tftp' },
          ],
        }),
      ],
    });
    await eventually('b1 to be helped', 5_000, async () =>
      (await get('b1', 'pasv', '10.0.1.15', BRIEF_MS, 2121)).startsWith(CONTENT),
    );
    assert.equal(await get('b1', 'epsv', 'fd00:1::15', WAIT_MS, 2121), `${CONTENT} fd00:2::11`);
    assert.equal(await get('a2', 'pasv', '10.0.1.15', BRIEF_MS, 2121), 'timeout: data to 10.0.1.15');
  });

  test('a server at a floating address: by every way, also with the addresses that are said on the control connection', async () => {
    for (const from of ['o1', 'o2']) {
      const n = Number(from[1]);
      await transfers(from, [...READ[4], 'pasv-here'], '203.0.113.111', `203.0.113.10${n}`);
      await transfers(from, READ[6], '2001:db8:f::111', `2001:db8:f::10${n}`);
    }
  });

  test('a client with a floating address, a server outside', async () => {
    await transfers('b2', READ[4], '203.0.113.101', '203.0.113.122');
    await transfers('b2', READ[6], '2001:db8:f::101', '2001:db8:f::122');
  });

  test('a client and a server that have floating addresses of one router', async () => {
    await transfers('b2', READ[4], '203.0.113.111', '203.0.113.122');
    await transfers('b2', READ[6], '2001:db8:f::111', '2001:db8:f::122');
  });

  test("behind a shared address: passive; what a client names there is nobody else's to reach", async () => {
    await transfers('a2', ['pasv'], '203.0.113.101', '203.0.113.2');
    await transfers('a2', ['epsv'], '2001:db8:f::101', '2001:db8:f::2');
    await transfers('a2', ['pasv', 'pasv-here'], '203.0.113.111', '203.0.113.2');
    await transfers('a2', ['epsv'], '2001:db8:f::111', '2001:db8:f::2');
    await fails('a2', ['port'], '203.0.113.101', /^timeout: data from the server/);
    await fails('a2', ['eprt'], '2001:db8:f::101', /^timeout: data from the server/);
    // TFTP's answer comes from another port: to the zone that translates it is of no connection.
    await fails('a2', ['tftp'], '203.0.113.101', /^timeout: connection/);
    // A server whose helper reads that the client is elsewhere drops the word itself.
    await fails('a2', ['port'], '203.0.113.111', /^timeout: control/);
  });

  test('a rule that is gone cuts the data connections within a second', async () => {
    for (const [way, address] of [
      ['pasv', '10.0.1.11'],
      ['port', '10.0.1.11'],
      ['epsv', 'fd00:1::11'],
      ['eprt', '2001:db8:f::111'],
    ] as const) {
      const child = dc.lab.spawn(way === 'eprt' ? 'o1' : 'b1', [process.execPath, END, 'hold', way, address]);
      let said = '';
      child.stdout?.on('data', (text) => {
        said += String(text);
      });
      const received = (): number => Number([...said.matchAll(/^received (\d+)$/gm)].at(-1)?.[1] ?? 0);
      await eventually(`data by ${way}`, 8_000, async () => received() > 5);
      await dc.weft.client.post('/v1/apply', {
        objects: [acme('securityGroup', 'server', { ingress: [{ protocol: 'tcp', ports: '22' }], egress: [] })],
      });
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      const before = received();
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      assert.equal(received(), before, `${way}: nothing comes any more`);
      child.kill('SIGKILL');
      await dc.weft.client.post('/v1/apply', { objects: [acme('securityGroup', 'server', server())] });
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  });
});
