import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIp } from '../base/addresses.ts';
import type { ScopeRecord } from '../model/objects.ts';
import { pooledAddress, type SnatRule } from '../model/snat.ts';
import type { Report } from '../server/protocol.ts';
import type { Ground } from './ground.ts';
import { Interfaces } from './interfaces.ts';
import { NatNeeds } from './nat-needs.ts';
import { Scope } from './scope.ts';

const P = '1a2b3c4d-0000-4000-8000-000000000001';

/** A workload here, 10.0.1.2, behind a router with these rules. */
function withRules(snat: readonly SnatRule[]) {
  const scope = new Scope();
  const put = (...records: unknown[]): void =>
    scope.apply((records as ScopeRecord[]).map((record) => ({ op: 'put', record })));
  put(
    { kind: 'router', id: 'r', key: 200, snat },
    { kind: 'routerPort', id: 'in', key: 201, router: 'r', switch: 's', outside: false, addresses: [] },
    { kind: 'port', id: P, key: 1, switch: 's', addresses: ['10.0.1.2', '2001:db8::2'] },
  );
  const interfaces = new Interfaces();
  interfaces.put({ uuid: 'u', name: 'tap', ofport: 7, ifaceId: P, markedInstalled: true });
  interfaces.rebind(() => undefined);
  const reports: Report[] = [];
  const ground = {
    scope,
    interfaces,
    host: 'h',
    serverConnected: true,
    report: (more: Report[]) => {
      reports.push(...more);
      return [];
    },
  };
  return { needs: new NatNeeds(ground as unknown as Ground, { wake: () => [] }), reports, put };
}

test('ports of an address are asked for as soon as a port is behind a router that translates it, once', () => {
  const { needs, reports, put } = withRules([
    { from: '10.0.0.0/8', to: '192.0.2.1' },
    { from: '10.0.1.0/24', to: '192.0.2.2' },
  ]);
  needs.ahead([P], 0);
  needs.ahead([P], 1000);
  assert.deepEqual(reports.splice(0), [{ type: 'natNeed', router: 'r', address: '192.0.2.2', have: 0 }]);
  needs.ahead([P], 2000);
  assert.equal(reports.splice(0).length, 1);
  put({
    kind: 'natLease',
    id: 'r/192.0.2.2/h',
    router: 'r',
    address: '192.0.2.2',
    host: 'h',
    blocks: [{ first: 1024, size: 64 }],
  });
  needs.scopeChanged([{ op: 'put', record: { kind: 'router', id: 'r' } }], 9000);
  assert.deepEqual(reports, []);
});

test('a server that has none is asked less and less often, and a new one at once', () => {
  const { needs, reports } = withRules([{ from: '10.0.0.0/8', to: '192.0.2.1' }]);
  const askedAtS = Array.from({ length: 60 }, (_, second) => second).filter((second) => {
    needs.ahead([P], second * 1000);
    return reports.splice(0).length > 0;
  });
  assert.deepEqual(askedAtS, [0, 2, 6, 14, 30, 46]);
  needs.serverIsNew();
  needs.ahead([P], 60_000);
  assert.equal(reports.length, 1);
});

test('of a pool ports of that address alone are asked for that a workload here has', () => {
  const rule = { from: '10.0.0.0/8', to: ['192.0.2.1', '192.0.2.16/29'] };
  const { needs, reports, put } = withRules([rule]);
  const address = pooledAddress(rule, parseIp('10.0.1.2')!);
  needs.ahead([P], 0);
  assert.deepEqual(reports.splice(0), [{ type: 'natNeed', router: 'r', address, have: 0 }]);
  const grown = { ...rule, to: ['192.0.2.1', '192.0.2.16/28'] };
  const another = pooledAddress(grown, parseIp('10.0.1.2')!);
  assert.notEqual(another, address);
  put({ kind: 'router', id: 'r', key: 200, snat: [grown] });
  needs.scopeChanged([{ op: 'put', record: { kind: 'router', id: 'r' } }] as never, 1000);
  assert.deepEqual(reports, [{ type: 'natNeed', router: 'r', address: another, have: 0 }]);
});
