import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ScopeRecord } from '../../model/objects.ts';
import { parseTracked, type Tracked } from '../connections/dump.ts';
import { entriesOfPort, type PortZones } from '../connections/of-port.ts';
import { Scope } from '../scope.ts';
import { leftoversOf } from './leftovers.ts';

/** The port of an L2 gateway, behind a router whose zone here has connections of a workload of this host, too. */
const ZONES: PortZones = { port: 'vlan', own: 4, routers: new Map([['r', 8]]) };
const scope = new Scope();
scope.apply(
  (
    [
      { kind: 'port', id: 'vlan', switch: 's', addresses: ['10.0.2.100'], groups: [] },
      { kind: 'port', id: 'vm', switch: 't', addresses: ['10.0.3.5'], groups: [] },
      { kind: 'floatingAddress', id: 'f', router: 'r', port: 'vlan', address: '203.0.113.12', adminUp: true },
      { kind: 'floatingAddress', id: 'g', router: 'r', port: 'vm', address: '203.0.113.13', adminUp: true },
      {
        ...{ kind: 'natLease', id: 'r/203.0.113.1/vlan', router: 'r', address: '203.0.113.1', host: 'h', port: 'vlan' },
        blocks: [{ first: 2048, size: 512 }],
      },
      {
        ...{ kind: 'natLease', id: 'r/203.0.113.1/h', router: 'r', address: '203.0.113.1', host: 'h' },
        blocks: [{ first: 4096, size: 512 }],
      },
    ] as unknown as ScopeRecord[]
  ).map((record) => ({ op: 'put', record })),
);

const SERVER = '198.51.100.1:80';

/** `from > to, reply's from > reply's to`, each with a port. */
function tracked(zone: number, original: string, reply = '', more = 'protoinfo=(state=ESTABLISHED)'): Tracked {
  const tuple = (text: string): string => {
    const [from, to] = text.split(' > ').map((end) => end.split(':'));
    return `(src=${from![0]},dst=${to![0]},sport=${from![1]},dport=${to![1]})`;
  };
  const back = reply || original.split(' > ').reverse().join(' > ');
  const protocol = more.startsWith('protoinfo') ? 'tcp' : 'udp';
  return parseTracked(`${protocol},orig=${tuple(original)},reply=${tuple(back)},zone=${zone},${more}`);
}

/** Source ports of what is left, of what is there, while the others go on as they are: `!` before what is in the way of these. */
function left(there: readonly Tracked[], goingOn: readonly Tracked[] = []): string[] {
  const text = ({ zone, original }: Tracked): string => `${zone}:${original.from.port}`;
  const { inTheWay, others } = leftoversOf(scope, { zones: ZONES, tracked: there }, entriesOfPort(ZONES, goingOn));
  return [...inTheWay, ...others].map(({ entry, zone }) =>
    text({ ...entry, zone }).replace(/^/, inTheWay.some((one) => one.entry === entry) ? '!' : ''),
  );
}

const out = (port: number, outside: number): Tracked[] => [
  tracked(4, `10.0.2.100:${port} > ${SERVER}`),
  tracked(8, `10.0.2.100:${port} > ${SERVER}`, `${SERVER} > 203.0.113.1:${outside}`),
];

test('what goes on stays, and what has ended elsewhere does not', () => {
  assert.deepEqual(left([...out(5000, 2050), ...out(5001, 2051)], out(5001, 2051)), ['4:5000', '8:5000']);
  assert.deepEqual(left(out(5000, 2050)), ['4:5000', '8:5000']);
  const vip = tracked(5, '198.51.100.9:6000 > 203.0.113.80:80', '10.0.2.100:8080 > 198.51.100.9:6000');
  assert.deepEqual(left([vip]), ['5:6000']);
});

test('what has outside what another connection has now, or began as it did, is in its way; so is one that is over', () => {
  assert.deepEqual(left(out(5000, 2050), out(5001, 2050)), ['!8:5000', '4:5000']);
  assert.deepEqual(left(out(5000, 2050), out(5000, 2051)), ['!8:5000']);
  assert.deepEqual(left(out(5000, 2050).map(over), out(5000, 2050)), ['!4:5000', '!8:5000']);
  const oneWay = tracked(4, `10.0.2.100:5000 > ${SERVER}`, '', 'timeout=55');
  assert.deepEqual(left([oneWay], [oneWay]), ['!4:5000'], 'nobody tells of what goes one way');
});
const over = (one: Tracked): Tracked => ({ ...one, state: 'time-wait', isOver: true });

test('of a router only what it translates for the port is taken out, whatever the other end is', () => {
  const own = [
    tracked(8, '198.51.100.9:6000 > 203.0.113.12:22', '10.0.2.100:22 > 198.51.100.9:6000'),
    tracked(8, `10.0.2.100:5002 > ${SERVER}`, `${SERVER} > 203.0.113.12:2222`),
    // A block that was given back: the port's own zone knows the connection.
    ...out(5003, 9000),
  ];
  assert.deepEqual(left(own), ['8:6000', '8:5002', '4:5003', '8:5003']);
  const ofOthers = [
    // A workload of this host, to the internet, and somebody to its floating address.
    tracked(8, `10.0.3.5:5000 > ${SERVER}`, `${SERVER} > 203.0.113.1:4100`),
    tracked(8, '198.51.100.9:6001 > 203.0.113.13:22', '10.0.3.5:22 > 198.51.100.9:6001'),
    // The workload to the port's floating address: its own half, which it would lose.
    tracked(8, '10.0.3.5:5001 > 203.0.113.12:22', '203.0.113.12:22 > 203.0.113.1:4101'),
    // Somebody behind the port to the workload's.
    tracked(8, '10.0.2.100:5004 > 203.0.113.13:22', '10.0.3.5:22 > 10.0.2.100:5004'),
    // The workload to the port, as another address.
    tracked(8, '10.0.3.5:5005 > 10.0.2.100:22', '10.0.2.100:22 > 203.0.113.1:4102'),
    // Neither of the router's nor of the port's zones.
    tracked(12, `10.0.2.100:5000 > ${SERVER}`),
  ];
  const asThePortKnowsThem = [
    tracked(4, '203.0.113.1:4101 > 10.0.2.100:22'),
    tracked(4, '10.0.2.100:5004 > 203.0.113.13:22'),
    tracked(4, '203.0.113.1:4102 > 10.0.2.100:22'),
  ];
  assert.deepEqual(left([...ofOthers, ...asThePortKnowsThem]), ['4:4101', '4:5004', '4:4102']);
});
