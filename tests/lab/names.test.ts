import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { requestLease } from '../../src/lab/udhcpc.ts';
import { type Datacentre, startDatacentre } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { ask, serve } from './services.ts';
import { member, networks, workload } from './tenancy.ts';

/** Asks a server with Node.js's own resolver (c-ares); prints addresses, or why there are none. */
const ASK = `
const { Resolver } = require('node:dns').promises;
const [server, method, name] = process.argv.slice(1);
const resolver = new Resolver({ timeout: 1500, tries: 2 });
resolver.setServers([server]);
resolver[method](name).then((found) => console.log(found.join()), ({ code }) => console.log(code));
`;

describe('names of workloads', { skip: needsRoot }, () => {
  let dc: Datacentre;
  before(async () => {
    const named = (each: Record<string, unknown>) =>
      each.kind === 'switch' && each.name === 'b' ? { ...each, dns: true } : each;
    dc = await startDatacentre({
      prefix: 'nm',
      hosts: ['east', 'west'],
      objects: [...networks().map(named), ...['a1', 'b1', 'b2'].map((name) => member(name))],
      workloads: [workload('a1', 'west'), workload('b1', 'east'), workload('b2', 'west')],
    });
  });
  after(() => dc?.down());

  const resolves = async (server: string, name: string, method: 'resolve4' | 'resolve6', from = 'b1') =>
    (await dc.lab.execOk(from, [process.execPath, '-e', ASK, server, method, name])).trim();

  test('the gateway of a network tells addresses of both versions, over both, and that it does not know others', async () => {
    for (const server of ['10.0.2.1', 'fd00:2::1']) {
      assert.equal(await resolves(server, 'a1', 'resolve4'), '10.0.1.11');
      assert.equal(await resolves(server, 'a1.a.acme.weft', 'resolve6'), 'fd00:1::11');
      assert.equal(await resolves(server, 'nobody.a.acme.weft', 'resolve4'), 'ENOTFOUND');
      assert.equal(await resolves(server, 'www.example.com', 'resolve4'), 'EREFUSED', 'its next server may know');
    }
  });

  test('workloads are told of it by DHCP', async () => {
    assert.deepEqual((await requestLease(dc.lab, 'b1')).dns, ['10.0.2.1']);
  });

  test('a query to another server passes, and where names are not asked for the gateway answers none', async () => {
    const other = await serve(dc.lab, 'b2', 'udp', 53);
    assert.equal((await ask(dc.lab, 'b1', 'udp', '10.0.2.12', 53)).by, 'b2');
    assert.equal((await ask(dc.lab, 'a1', 'udp', '10.0.2.12', 53)).by, 'b2');
    await other.stop();
    assert.equal((await ask(dc.lab, 'a1', 'udp', '10.0.1.1', 53)).why, 'ECONNREFUSED');
  });
});
