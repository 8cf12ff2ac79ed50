import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MOST_ROUTES_IN_REPORT } from '../../server/protocol.ts';
import { OwnRoutes, type RouteNews } from './own-routes.ts';

const hop = (address: string) => [{ address, routerPort: 'up', weight: 1 }];
const news = (to: string, address?: string, router = 'r'): RouteNews => ({
  ...{ router, to },
  via: address === undefined ? undefined : hop(address),
});
const textOf = ({ put, gone }: ReturnType<OwnRoutes['take']>): string[] => [
  ...put.map(({ to, via }) => `+ ${to} ${via.map(({ address }) => address).join()}`),
  ...gone.map(({ to }) => `- ${to}`),
];

test('only what is different is told, and of several news of one route the last', () => {
  const own = new OwnRoutes('h', () => 10);
  assert.deepEqual(textOf(own.take([news('10.0.0.0/8', '192.0.2.1'), news('::/0', '2001:db8::1')])), [
    '+ 10.0.0.0/8 192.0.2.1',
    '+ ::/0 2001:db8::1',
  ]);
  assert.deepEqual(textOf(own.take([news('10.0.0.0/8', '192.0.2.1'), news('11.0.0.0/8')])), []);
  assert.deepEqual(textOf(own.take([news('10.0.0.0/8'), news('10.0.0.0/8', '192.0.2.1')])), []);
  const { put, gone, reports } = own.take([news('10.0.0.0/8', '192.0.2.9'), news('::/0')]);
  assert.deepEqual([put[0]?.id, gone[0]?.id], ['r/10.0.0.0/8/h', 'r/::/0/h']);
  assert.deepEqual(reports, [
    { type: 'learnedRoutes', put: [], gone: [{ router: 'r', to: '::/0' }] },
    { type: 'learnedRoutes', put: [{ router: 'r', to: '10.0.0.0/8', via: hop('192.0.2.9') }], gone: [] },
  ]);
  assert.equal(own.get('r/10.0.0.0/8/h')?.via[0]?.address, '192.0.2.9');
  assert.deepEqual([own.get('r/10.0.0.0/8/other'), own.get('r/::/0/h')], [undefined, undefined]);
});

test('what there is no room for comes in when others go, in the order in which it came', () => {
  const own = new OwnRoutes('h', (router) => (router === 'r' ? 2 : 1));
  const far = [1, 2, 3, 4].map((n) => news(`10.${n}.0.0/16`, '192.0.2.1'));
  assert.deepEqual(textOf(own.take([...far, news('10.1.0.0/16', '192.0.2.5', 's')])), [
    '+ 10.1.0.0/16 192.0.2.1',
    '+ 10.2.0.0/16 192.0.2.1',
    '+ 10.1.0.0/16 192.0.2.5',
  ]);
  assert.equal(own.excessOf('r'), 2);
  assert.deepEqual(textOf(own.take([news('10.3.0.0/16')])), []);
  assert.deepEqual(textOf(own.take([news('10.1.0.0/16')])), ['+ 10.4.0.0/16 192.0.2.1', '- 10.1.0.0/16']);
  assert.equal(own.excessOf('r'), 0);
});

test('a new connection is told everything in reports that the server takes', () => {
  const own = new OwnRoutes('h', () => 100_000);
  assert.deepEqual(own.all(), [{ type: 'learnedRoutesAll', routes: [] }]);
  const count = 2 * MOST_ROUTES_IN_REPORT + 7;
  const many = Array.from({ length: count }, (_, n) => news(`20.${n >> 8}.${n & 255}.0/24`, '192.0.2.1'));
  assert.deepEqual(
    own.take(many).reports.map((report) => report.type === 'learnedRoutes' && report.put.length),
    [MOST_ROUTES_IN_REPORT, MOST_ROUTES_IN_REPORT, 7],
  );
  assert.deepEqual(
    own.all().map((report) => report.type === 'learnedRoutesAll' && [report.routes.length, report.isMore]),
    [
      [MOST_ROUTES_IN_REPORT, true],
      [MOST_ROUTES_IN_REPORT, true],
      [7, undefined],
    ],
  );
  const { gone, reports } = own.forget('r');
  assert.deepEqual([gone.length, reports.length, own.all().length], [count, 3, 1]);
});
