import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startCapture } from '../../src/lab/capture.ts';
import { requestLease } from '../../src/lab/udhcpc.ts';
import { underlayPort } from '../../src/lab/underlay.ts';
import { type Datacentre, eventually, pings, sleep, startDatacentre } from './datacentre.ts';
import { byAll, needsRoot } from './lab-name.ts';
import { startLossless } from './lossless.ts';

/** One tenant of two that use the same names and addresses on the same three hosts. */
function tenant(name: string): Record<string, unknown>[] {
  const port = (n: number): Record<string, unknown> => ({
    kind: 'port',
    tenant: name,
    switch: 'net',
    name: `p${n}`,
    addresses: [`10.0.0.1${n}`, `fd00:10::1${n}`],
  });
  return [
    { kind: 'tenant', name },
    {
      kind: 'switch',
      tenant: name,
      name: 'net',
      subnets: [
        {
          cidr: '10.0.0.0/24',
          gateway: '10.0.0.1',
          dhcp: {
            dns: ['10.0.0.53'],
            domain: `${name}.example`,
            ntp: ['10.0.0.123'],
            routes: [{ to: '192.0.2.0/24', via: '10.0.0.9' }],
            leaseSeconds: 7200,
          },
        },
        { cidr: 'fd00:10::/64', ipv6Mode: 'stateful' },
        { cidr: 'fd00:20::/64', ipv6Mode: 'slaac' },
      ],
    },
    port(1),
    port(2),
    port(3),
    { kind: 'port', tenant: name, switch: 'net', name: 'auto' },
  ];
}

/**
 * The key of a tunnel's packet: the VNI of Geneve (RFC 8926) and VXLAN (RFC 7348), behind four bytes of either, in a UDP datagram; the
 * key of GRE (RFC 2890) behind four bytes as well. The outer headers are Ethernet without a tag and IPv4 without options.
 */
function keyOf(bytes: Buffer, encap: 'geneve' | 'vxlan' | 'gre'): number {
  return encap === 'gre' ? bytes.readUInt32BE(14 + 20 + 4) : bytes.readUIntBE(14 + 20 + 8 + 4, 3);
}

for (const encap of ['geneve', 'vxlan', 'gre'] as const) {
  describe(`two tenants with the same addresses over ${encap}`, {
    skip: needsRoot || (encap !== 'geneve' && byAll),
  }, () => {
    let dc: Datacentre;
    before(async () => {
      const static4 = (n: number): string[] => [`10.0.0.1${n}/24`, `fd00:10::1${n}/64`];
      dc = await startDatacentre({
        prefix: `t${encap[0]}`,
        hosts: ['east', 'west', 'north'],
        encap,
        objects: [...tenant('red'), ...tenant('blue')],
        workloads: [
          { name: 'r1', host: 'east', port: 'red/p1', addresses: static4(1) },
          { name: 'r2', host: 'west', port: 'red/p2', addresses: static4(2) },
          { name: 'r3', host: 'east', port: 'red/p3', addresses: static4(3) },
          { name: 'b1', host: 'east', port: 'blue/p1', addresses: static4(1) },
          { name: 'b2', host: 'north', port: 'blue/p2', addresses: static4(2) },
          { name: 'auto', host: 'north', port: 'red/auto' },
        ],
      });
    });
    after(() => dc?.down());

    test('workloads of a tenant ping each other, on one host and across hosts, in both families', async () => {
      for (const address of ['10.0.0.12', '10.0.0.13', 'fd00:10::12', 'fd00:10::13'])
        assert.ok(await pings(dc.lab, 'r1', address), address);
    });

    test('frames of the largest size that the subnet tells arrive whole', async () => {
      const lease = await requestLease(dc.lab, 'auto');
      assert.equal(lease.mtu, { geneve: 1450, vxlan: 1450, gre: 1458 }[encap]);
      // The workloads' own MTU is 1400: 28 bytes of it are headers.
      assert.ok(await pings(dc.lab, 'r1', '10.0.0.12', 1400 - 28, true));
      assert.ok(await pings(dc.lab, 'r1', 'fd00:10::12', 1400 - 48, true));
      assert.ok(await pings(dc.lab, 'r1', '10.0.0.12', 4000), 'fragments');
    });

    test('a real DHCP client gets the address of its port and what the subnet tells', async () => {
      const lease = await requestLease(dc.lab, 'auto');
      assert.equal(
        lease.address,
        dc.ports.get('auto')!.addresses.find((a) => a.startsWith('10.')),
      );
      assert.deepEqual(lease.routers, ['10.0.0.1']);
      assert.deepEqual(lease.dns, ['10.0.0.53']);
      assert.deepEqual(lease.ntp, ['10.0.0.123']);
      assert.equal(lease.leaseSeconds, 7200);
      assert.ok(await pings(dc.lab, 'auto', '10.0.0.11'));
    });

    test('IPv6 comes by router advertisement, and the derived address is the one that the server knows', async () => {
      const wanted = dc.ports.get('auto')!.addresses.find((a) => a.startsWith('fd00:20:'));
      assert.ok(wanted);
      await eventually(`the address ${wanted}`, 8000, async () =>
        (
          await dc.lab.execOk('auto', ['ip', '-6', 'addr', 'show', 'dev', 'eth0', 'scope', 'global', '-tentative'])
        ).includes(wanted),
      );
      // The subnets are two, and no router joins them.
      for (const [place, to] of [
        ['auto', 'fd00:10::/64'],
        ['r2', 'fd00:20::/64'],
      ] as const)
        await dc.lab.execOk(place, ['ip', '-6', 'route', 'replace', to, 'dev', 'eth0']);
      const ping = ['ping', '-c', '1', '-W', '1', '-I', wanted, 'fd00:10::12'];
      await eventually(
        'an answer to the derived address',
        10_000,
        async () => (await dc.lab.exec('auto', ping)).code === 0,
      );
    });

    test('TCP carries a megabyte and UDP loses nothing', async () => {
      const listener = dc.lab.spawn('r2', ['sh', '-c', 'busybox nc -l -p 5000 | wc -c']);
      let received = '';
      listener.stdout?.on('data', (chunk) => {
        received += chunk;
      });
      await eventually('the listener', 3000, async () =>
        (await dc.lab.execOk('r2', ['sh', '-c', 'cat /proc/net/tcp*'])).includes(':1388 '),
      );
      await dc.lab.execOk('r1', ['sh', '-c', 'head -c 1000000 /dev/zero | busybox nc -w 5 10.0.0.12 5000']);
      await eventually('all bytes', 5000, async () => received.trim() === '1000000');
      const streams = await startLossless(dc.lab, [{ from: 'r1', to: 'r2', address: '10.0.0.12', pps: 5000 }]);
      await sleep(1000);
      for (const { duplicates } of await streams.stop('within a switch')) assert.equal(duplicates, 0);
    });

    test('no frame crosses tenants: what one says with the other listening never arrives', async () => {
      const ears = await Promise.all(
        ['b1', 'b2'].map((place) =>
          startCapture(dc.lab, place, 'eth0', {
            filter: `ether src ${dc.ports.get('r1')!.mac} or ether src ${dc.ports.get('r2')!.mac}`,
          }),
        ),
      );
      await pings(dc.lab, 'r1', '10.0.0.12');
      await pings(dc.lab, 'r1', 'ff02::1%eth0');
      await dc.lab.exec('r1', ['arping', '-c', '2', '-w', '1', '-i', 'eth0', '10.0.0.77']);
      await dc.lab.exec('r1', ['ping', '-c', '2', '-i', '0.2', '-W', '0.3', '-b', '10.0.0.255']);
      for (const ear of ears) assert.equal((await ear.stop()).captured, 0);
      // The same addresses answer within blue, from blue's own workloads.
      assert.ok(await pings(dc.lab, 'b1', '10.0.0.12'));
    });

    test('the packet that crosses the wire is one, and carries the key of the port where it leaves', async () => {
      const tunnel = encap === 'gre' ? 'proto gre' : `udp dst port ${encap === 'geneve' ? 6081 : 4789}`;
      const wire = await startCapture(dc.lab, 'underlay', underlayPort('west'), {
        filter: `${tunnel} and src host ${dc.lab.host('east').address}`,
      });
      const mark = Buffer.from('weft');
      await dc.lab.execOk('r1', ['ping', '-c', '1', '-W', '5', '-p', mark.toString('hex'), '10.0.0.12']);
      await wire.reaches(1);
      await sleep(200);
      const seen = (await (await wire.stop()).frames()).map(({ bytes }) => Buffer.from(bytes));
      assert.deepEqual(
        seen.filter((bytes) => bytes.includes(mark)).map((bytes) => keyOf(bytes, encap)),
        [dc.ports.get('r2')!.key],
      );
    });
  });
}
