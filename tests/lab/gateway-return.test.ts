// Measures: runs alone, by --all.
import { after, before, describe, type TestContext, test } from 'node:test';
import { eventually, pings } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { startLossless } from './lossless.ts';
import { FLOATING, startTwoGateways, type TwoGateways } from './two-gateways.ts';
import { FLOATING6, startTwoGateways6 } from './two-gateways-ipv6.ts';

/** `beyond` both upstreams: enough of them that packets to some go out by either gateway. */
const ENDS = [201, 202, 203, 204, 205, 206];
const WORLDS = [
  {
    ...{ version: 4, start: () => startTwoGateways('gwr'), floating: FLOATING },
    ...{ beyond: ENDS.map((n) => `198.51.100.${n}`), prefix: 24 },
  },
  {
    ...{ version: 6, start: () => startTwoGateways6('gwr6'), floating: FLOATING6 },
    ...{ beyond: ENDS.map((n) => `2001:db8:ffff::${n}`), prefix: 64 },
  },
] as const;

for (const { version, start, floating, beyond, prefix } of WORLDS)
  describe(`a gateway that was off, IPv${version}`, { skip: needsRoot, timeout: 300_000 }, () => {
    let site: TwoGateways;

    before(async () => {
      site = await start();
      await site.established('up-1', 'up-2');
      for (const address of beyond)
        await site.lab.execOk('client', [
          'ip',
          'addr',
          'add',
          `${address}/${prefix}`,
          'dev',
          'eth0',
          ...(version === 6 ? ['nodad'] : []),
        ]);
    });
    after(() => site?.down());

    const lostAt = async (host: string): Promise<string[]> => {
      const { status } = await site.weft.client.get<{ status?: { problems?: string[] } }>(`/v1/hosts/${host}`);
      return (status?.problems ?? []).filter((text) => text.includes('does not answer'));
    };

    /** Packets by the cable between gw-1 and its upstream, so far. */
    const carried = async (): Promise<number> => {
      const text = await site.lab.execOk('up-1', ['ip', '-s', '-j', 'link', 'show', 'dev', 'to-gw-1']);
      const [{ stats64 }] = JSON.parse(text);
      return stats64.rx.packets + stats64.tx.packets;
    };

    /** It goes; all that it carried goes another way; it comes back, and carries packets again. */
    async function returns(t: TestContext, go: () => Promise<unknown>, come: () => Promise<unknown>): Promise<void> {
      const { lab } = site;
      await lab.sendVia('client', ['up-1']);
      await go();
      await eventually('east says so', 5_000, async () =>
        // On a busy machine it may miss another one's answers for a moment, too.
        (await lostAt('east')).some((text) => text.includes('host gw-1 ')),
      );
      await eventually('the way in leads round it', 10_000, () => pings(lab, 'client', floating));
      const streams = await startLossless(lab, [
        { from: 'client', to: 'web-1', address: floating, pps: 2000 },
        ...beyond.map((address) => ({ from: 'web-1', to: 'client', address, pps: 300 })),
      ]);
      const before = await carried();
      await come();
      await eventually('east uses it again', 60_000, async () => (await lostAt('east')).length === 0);
      await site.established('up-1', 'up-2');
      await eventually('packets go by it', 10_000, async () => (await carried()) - before > 3000);
      for (const { sent, lost } of await streams.stop('gw-1 came back')) t.diagnostic(`${lost} of ${sent} lost`);
    }

    test('comes back without a packet lost, in or out: nothing is sent to it before its flows are in', (t) =>
      returns(
        t,
        () => site.lab.stopHost('gw-1'),
        () => site.lab.startHost('gw-1'),
      ));

    test('or only its Open vSwitch, while its agent lived: so too', (t) =>
      returns(
        t,
        () => site.lab.killVswitchd('gw-1'),
        () => site.lab.restartVswitchd('gw-1'),
      ));
  });
