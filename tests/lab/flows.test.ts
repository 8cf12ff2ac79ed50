import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Endpoint } from '../../src/flow-database/flow-store.ts';
import type { NatAnswer, ShownConnection } from '../../src/server/routes/flows.ts';
import { followWeft, weft } from './command.ts';
import { type Datacentre, eventually, sleep, startDatacentre } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { ask, type HeldConnection, hold, serve } from './services.ts';
import { acme, member, networks, outsider, outsideWorkload, workload } from './tenancy.ts';

const text = (end: Endpoint | undefined): string => (end ? `${end.address}:${end.port}` : '');

describe('the flow database', { skip: needsRoot }, () => {
  let dc: Datacentre;
  let held: HeldConnection[] = [];

  before(async () => {
    dc = await startDatacentre({
      prefix: 'flows',
      hosts: ['east', 'west'],
      objects: [
        ...networks({ snat: [{ from: '10.0.0.0/16', to: '203.0.113.2' }] }),
        ...['a1', 'a2', 'b1'].map((name) => member(name)),
        acme('floatingAddress', 'f1', { address: '203.0.113.11', router: 'r', port: 'a1' }),
        acme('loadBalancer', 'web', {
          ...{ address: '203.0.113.50', router: 'r', members: [{ port: 'b1' }] },
          listeners: [{ protocol: 'tcp', port: 80, memberPort: 8080 }],
        }),
        outsider('o1', 1),
      ],
      workloads: [
        workload('a1', 'east'),
        workload('a2', 'east'),
        workload('b1', 'west'),
        outsideWorkload('o1', 1, 'west'),
      ],
    });
    await Promise.all([
      serve(dc.lab, 'o1', 'tcp', 80),
      serve(dc.lab, 'a1', 'tcp', 80),
      serve(dc.lab, 'b1', 'tcp', 8080),
    ]);
    held = await Promise.all([
      hold(dc.lab, 'a2', '203.0.113.101', 80),
      hold(dc.lab, 'o1', '203.0.113.11', 80),
      hold(dc.lab, 'o1', '203.0.113.50', 80),
      hold(dc.lab, 'a2', '203.0.113.50', 80),
    ]);
  });
  after(async () => {
    for (const each of held) each.stop();
    await dc?.down();
  });

  const flows = async (...words: string[]): Promise<readonly ShownConnection[]> =>
    JSON.parse((await weft(dc, 'flows', '-o', 'json', ...words)).out) as ShownConnection[];

  test('connections through SNAT, floating address and VIP appear with names and the addresses of both sides', async () => {
    const all = await eventually('every connection is told', 20_000, async () => {
      const items = await flows('--state', 'established', '-t', 'acme');
      return items.length >= 5 && items;
    });
    const lines = all.map(({ names, direction, from, seenAs, to, asked }) => {
      const away = direction === 'in' ? from : to;
      const port = away.port === 80 || away.port === 8080 ? `:${away.port}` : '';
      const shared = seenAs ? `as ${seenAs.address} ` : '';
      return `${names.port}@${names.host} ${shared}${direction} ${away.address}${port} ${text(asked)}`.trim();
    });
    assert.deepEqual(lines.sort(), [
      'acme/a1@east in 203.0.113.101 203.0.113.11:80',
      'acme/a2@east as 203.0.113.2 out 203.0.113.101:80',
      'acme/a2@east out 10.0.2.11:8080 203.0.113.50:80',
      'acme/b1@west in 10.0.1.12',
      'acme/b1@west in 203.0.113.101 203.0.113.50:80',
    ]);
    const { out } = await weft(dc, 'flows', '--port', 'acme/a2', '--address', '203.0.113.2');
    assert.match(
      out,
      /^acme\/a2 +tcp +established +10\.0\.1\.12:\d+ +203\.0\.113\.2:\d+ +203\.0\.113\.101:80 .* east +\d+ s$/m,
    );
  });

  test('who follows sees what a workload begins, and nothing of others', async () => {
    const follower = followWeft(dc, 'flows', '--follow', '--port', 'acme/b1');
    await sleep(3_000); // it is connected by then
    const more = await hold(dc.lab, 'a2', '203.0.113.50', 80);
    await eventually('a line', 30_000, async () =>
      follower.lines.some((line) => / \+ acme\/b1 tcp 10\.0\.1\.12:\d+ .*:8080 established$/.test(line)),
    );
    more.stop();
    assert.equal(await follower.stop(), 0);
    assert.ok(
      follower.lines.every((line) => line.includes(' acme/b1 ')),
      follower.lines.join('\n'),
    );
  });

  test('the SNAT log names the workload during a connection and after it; the list forgets it', async () => {
    const [connection] = await flows('--address', '203.0.113.2', '-t', 'acme', '--protocol', 'tcp');
    const outside = text(connection!.seenAs);
    const seen = await ask(dc.lab, 'a2', 'tcp', '203.0.113.101', 80);
    assert.equal(seen.seen, '203.0.113.2');
    const during = await weft(dc, 'flows', '--nat', outside);
    assert.equal(during.code, 0);
    assert.match(
      during.out,
      /^east +acme\/a2 +tcp +10\.0\.1\.12:\d+ +203\.0\.113\.101:80 +acme\/r .* now +connection$/m,
    );
    const at = new Date().toISOString();
    // Open vSwitch keeps a closed connection for half a minute: its zones are emptied instead, when its last packet is behind.
    held[0]!.stop();
    await sleep(500);
    await dc.lab.execOk('east', ['ovs-appctl', '-t', controlOf(dc, 'east'), 'dpctl/flush-conntrack']);
    await eventually('the connection ended', 20_000, async () => {
      const items = await flows('--address', '203.0.113.2', '-t', 'acme');
      return !items.some((item) => text(item.seenAs) === outside);
    });
    const { out } = await weft(dc, 'flows', '--nat', outside, '--at', at, '-o', 'json');
    const { holders } = JSON.parse(out) as NatAnswer;
    assert.deepEqual(
      holders.map(({ by, names, workload, toMs }) => [by, names.host, workload?.address, toMs !== undefined]),
      [
        ['connection', 'east', '10.0.1.12', true],
        ['lease', 'east', undefined, false],
      ],
    );
    assert.equal((await weft(dc, 'flows', '--nat', '203.0.113.200:7')).code, 3, 'nobody had it');
  });
});

function controlOf(dc: Datacentre, host: string): string {
  return `${dc.lab.state.hostDir(host)}/ovs-vswitchd.ctl`;
}
