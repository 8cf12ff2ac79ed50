// A scenario: runs by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startCapture } from '../../src/lab/capture.ts';
import { decodePacket } from '../../src/packet/packet.ts';
import { applyEverywhere, type Datacentre, eventually, pings, startDatacentre } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { startLossless, undropped } from './lossless.ts';
import { acme, member, networks, workload } from './tenancy.ts';

/** Collectors of copies in the underlay, over each encapsulation and each IP version of it (`mirror-and-limits.test.ts` has Geneve over IPv4, and what is copied). */
const KEY = 0x1234_56;
const SIX = 'fd31::/64';
const ENCAPS = {
  geneve: 'udp port 6081',
  vxlan: 'udp port 4789',
  gre: 'proto 47',
} as const;
type Encap = keyof typeof ENCAPS;

/** The key and the frame that a tunnel packet carries: RFC 8926 §3.4, RFC 7348 §5, RFC 2890 §2 with a key and without more. */
function inside(encap: Encap, bytes: Uint8Array): { readonly key: number; readonly frame: string } {
  const { payload } = decodePacket(bytes);
  const view = new DataView(payload.buffer, payload.byteOffset);
  if (encap === 'gre') assert.equal(view.getUint32(0), 0x2000_6558, 'flags and protocol of GRE');
  const start = encap === 'geneve' ? 8 + (payload[0]! & 0x3f) * 4 : 8;
  return {
    // RFC 7637 §3.2 has 24 bits and a flow's id; Open vSwitch has all 32 for the key.
    key: encap === 'gre' ? view.getUint32(4) : view.getUint32(4) >>> 8,
    frame: Buffer.from(payload.subarray(start)).toString('hex'),
  };
}

for (const encap of Object.keys(ENCAPS) as Encap[])
  for (const underlay of [undefined, SIX]) {
    const version = underlay === undefined ? 'IPv4' : 'IPv6';
    describe(`a collector over ${encap} and ${version}`, {
      skip: needsRoot || (encap === 'geneve' && !underlay),
    }, () => {
      let dc: Datacentre;
      before(async () => {
        dc = await startDatacentre({
          ...{ prefix: 'col', hosts: ['east', 'west'], encap },
          ...(underlay === undefined ? {} : { underlay }),
          objects: [...networks(), member('a1'), member('a2'), member('b1')],
          workloads: [workload('a1', 'east'), workload('a2', 'west'), workload('b1', 'west')],
        });
        for (const to of ['10.0.1.12', '10.0.2.11', 'fd00:2::11'])
          await eventually(to, 10_000, () => pings(dc.lab, 'a1', to));
      });
      after(() => dc?.down());

      const server = (): string => dc.lab.spec.server.split('/')[0]!;
      const mirror = (more: object): Promise<void> =>
        applyEverywhere(dc, [
          acme('mirror', 'm', { ports: ['a1'], to: { collector: { address: server(), key: KEY } }, ...more }),
        ]);
      const tunnelled = (): string =>
        `${version === 'IPv6' && encap === 'gre' ? 'ip6 ' : version === 'IPv4' && encap === 'gre' ? 'ip ' : ''}${ENCAPS[encap]} and dst host ${server()}`;

      test('gets what a port sends, as it was, with its key', async () => {
        await mirror({ direction: 'from' });
        for (const [to, filter] of [
          ['10.0.1.12', 'icmp[icmptype]=8'],
          ['10.0.2.11', 'icmp[icmptype]=8'],
          ['fd00:2::11', 'icmp6 and ip6[40] == 128'],
        ] as const) {
          const [sent, copies] = await undropped(dc.lab, async () => {
            const own = await startCapture(dc.lab, 'a1', 'eth0', { filter: `${filter} and dst host ${to}` });
            const ear = await startCapture(dc.lab, 'server', 'eth0', { filter: tunnelled() });
            await dc.lab.execOk('a1', ['ping', '-c', '3', '-i', '0.1', '-W', '2', '-s', '1000', to]);
            await ear.reaches(3);
            return [await (await own.stop()).frames(), await (await ear.stop()).frames()] as const;
          });
          const frames = sent.map(({ bytes }) => Buffer.from(bytes).toString('hex'));
          assert.equal(frames.length, 3);
          const inner = copies.map(({ bytes }) => inside(encap, bytes));
          // Neighbours are asked for now and then.
          const echoes = inner.filter(({ frame }) => frame.length === frames[0]!.length);
          assert.deepEqual(
            echoes,
            frames.map((frame) => ({ key: KEY, frame })),
            to,
          );
        }
      });

      test('gets what a port receives from another host, and the port loses nothing', async () => {
        await mirror({ direction: 'both' });
        const [copies, report] = await undropped(dc.lab, async () => {
          const ear = await startCapture(dc.lab, 'server', 'eth0', { filter: tunnelled(), snapLength: 200 });
          const streams = await startLossless(dc.lab, [{ from: 'b1', to: 'a1', address: '10.0.1.11', pps: 1500 }]);
          await new Promise((resolve) => setTimeout(resolve, 1000));
          const [stream] = await streams.stop('a mirrored port');
          await ear.reaches(stream!.received);
          return [await ear.stop(), stream!] as const;
        });
        // The stream's greetings are copied too.
        assert.ok(copies.captured + copies.dropped >= report.received, `${copies.captured} of ${report.received}`);
        assert.ok(copies.captured < report.received + 200, `${copies.captured} of ${report.received}`);
      });

      test('gets nothing when the mirror is down, and no more of it is in the way of anything', async () => {
        await mirror({ adminUp: false });
        const ear = await startCapture(dc.lab, 'server', 'eth0', { filter: tunnelled() });
        assert.ok(await pings(dc.lab, 'a1', '10.0.2.11'));
        assert.equal((await ear.stop()).captured, 0);
      });

      test('that cannot be reached takes nothing from what is copied', async () => {
        const nobody = version === 'IPv6' ? '172.31.9.9' : 'fd31::99';
        for (const address of [nobody, version === 'IPv6' ? 'fd31::98' : '172.31.0.98']) {
          await mirror({ direction: 'both', to: { collector: { address, key: KEY } } });
          const streams = await startLossless(dc.lab, [
            { from: 'a1', to: 'b1', address: '10.0.2.11', pps: 1500 },
            { from: 'b1', to: 'a1', address: '10.0.1.11', pps: 1500, port: 7100 },
          ]);
          await new Promise((resolve) => setTimeout(resolve, 1000));
          await streams.stop(`copies to ${address}`);
        }
        await mirror({ adminUp: false });
      });
    });
  }
