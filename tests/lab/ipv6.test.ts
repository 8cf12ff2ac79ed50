import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Dhcp6Client, startDhcp6c } from '../../src/lab/dhcp6c.ts';
import { type Datacentre, eventually, pings, startDatacentre } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { ask, serve } from './services.ts';
import { acme } from './tenancy.ts';

const DNS = ['fd00::53', 'fd00::54'];

/**
 * Workloads that set nothing by themselves: what they have comes from router advertisements and DHCPv6. `asked` lives
 * in a subnet of mode `stateful`, `made` in one of mode `slaac`; a router is between them.
 */
describe('IPv6 from end to end', { skip: needsRoot }, () => {
  let dc: Datacentre;
  let client: Dhcp6Client | undefined;
  const routes = (place: string): Promise<string> => dc.lab.execOk(place, ['ip', '-6', 'route', 'show', 'default']);
  /** Global addresses that are ready for use. */
  const addresses = async (place: string): Promise<string[]> => {
    const text = await dc.lab.execOk(place, ['ip', '-6', '-o', 'addr', 'show', 'dev', 'eth0', 'scope', 'global']);
    const ready = text.split('\n').filter((line) => !line.includes('tentative'));
    return ready.flatMap((line) => /inet6 ([^/]+)/.exec(line)?.[1] ?? []);
  };
  const has = (place: string, address: string): Promise<true> =>
    eventually(`${place} has ${address}`, 5000, async () => (await addresses(place)).includes(address));

  before(async () => {
    dc = await startDatacentre({
      prefix: 'v6',
      hosts: ['east', 'west'],
      objects: [
        { kind: 'tenant', name: 'acme' },
        acme('switch', 'asked', {
          subnets: [
            {
              cidr: 'fd00:1::/64',
              ipv6Mode: 'stateful',
              dhcp: { dns: DNS, domain: 'asked.example', leaseSeconds: 60 },
            },
          ],
        }),
        acme('switch', 'made', { subnets: [{ cidr: 'fd00:2::/64', dhcp: { dns: DNS, domain: 'made.example' } }] }),
        acme('router', 'r'),
        acme('routerPort', 'asked', { router: 'r', switch: 'asked', addresses: ['fd00:1::1/64'] }),
        acme('routerPort', 'made', { router: 'r', switch: 'made', addresses: ['fd00:2::1/64'] }),
        acme('port', 'asked', { switch: 'asked', addresses: ['fd00:1::11'] }),
        acme('port', 'made', { switch: 'made' }),
      ],
      workloads: [
        { name: 'asked', host: 'east', port: 'acme/asked' },
        { name: 'made', host: 'west', port: 'acme/made' },
      ],
    });
  });
  after(async () => {
    await client?.stop();
    await dc?.down();
  });

  test('a port of a stateful subnet gets its address by DHCPv6, and names of servers', async () => {
    client = startDhcp6c(dc.lab, 'asked');
    assert.deepEqual(await client.reply(0), {
      to: 'request',
      addresses: ['fd00:1::11'],
      dns: DNS,
      domains: ['asked.example.'],
      renewAfterSeconds: 30,
    });
    await has('asked', 'fd00:1::11');
    assert.deepEqual(await addresses('asked'), ['fd00:1::11'], 'none is made from the advertisement');
  });

  test('a port of a SLAAC subnet makes its address, which is the one that Weft knows, and asks for settings only', async () => {
    const [own] = dc.ports.get('made')!.addresses;
    assert.match(own!, /^fd00:2::/);
    await has('made', own!);
    assert.deepEqual(await addresses('made'), [own]);
    const stateless = startDhcp6c(dc.lab, 'made', { isStateless: true });
    try {
      assert.deepEqual(await stateless.reply(0), {
        to: 'information request',
        addresses: [],
        dns: DNS,
        domains: ['made.example.'],
        renewAfterSeconds: undefined,
      });
    } finally {
      await stateless.stop();
    }
  });

  test('the advertised router leads to the other network, both ways', async () => {
    for (const place of ['asked', 'made'])
      assert.match(
        await eventually(`${place} has a default route`, 5000, () => routes(place)),
        /via fe80::.* proto ra/,
      );
    const [made] = dc.ports.get('made')!.addresses;
    assert.ok(await pings(dc.lab, 'asked', made!));
    assert.ok(await pings(dc.lab, 'made', 'fd00:1::11', 4000), 'fragments');
    await serve(dc.lab, 'made', 'tcp', 80);
    assert.equal((await ask(dc.lab, 'asked', 'tcp', made!, 80)).by, 'made');
  });

  test('renews, and gives back at its end', async () => {
    const renewed = await client!.reply(1, 40_000);
    assert.deepEqual([renewed.to, renewed.addresses], ['renew', ['fd00:1::11']]);
    await client!.stop();
    client = undefined;
    assert.deepEqual(await addresses('asked'), []);
  });
});
