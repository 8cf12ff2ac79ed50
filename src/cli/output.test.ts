import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Command } from 'commander';
import { ERROR_CODES, type ErrorCode, WeftError } from '../base/errors.ts';
import { EXIT, exitCodeOf } from './exit-codes.ts';
import { entryOf } from './kinds.ts';
import { describeFields, keptLine } from './nouns/describe.ts';
import { tableOf } from './nouns/get.ts';
import { formatTree } from './nouns/show.ts';
import { formatStatus, judge, type StatusAnswer } from './nouns/status.ts';
import { describeChange } from './nouns/watch.ts';
import { outputOption } from './output.ts';
import { cellText, inlineText, valueAt } from './paths.ts';
import { formatDiff, formatResult, type Plan, summaryOf } from './plan.ts';
import type { ShownObject } from './session.ts';
import { ageText, parseDuration } from './times.ts';

const port = {
  kind: 'port',
  id: 'd6c7c747-98d9-4b05-bf52-976f928ff207',
  name: 'web',
  tenant: 'red',
  revision: 3,
  switch: 'net',
  mac: '02:00:00:00:00:11',
  addresses: ['10.0.0.11', 'fd00::11'],
  adminUp: true,
  status: { state: 'installed', host: 'north', claims: [], problems: [] },
} as unknown as ShownObject;

test('a table has a column for the tenant, and a dash where there is no value', () => {
  assert.deepEqual(
    tableOf(entryOf('port'), [port, { ...port, name: 'db', status: { state: 'unbound' } } as ShownObject], false).split(
      '\n',
    ),
    [
      'TENANT  NAME  SWITCH  MAC                ADDRESSES           HOST   STATE',
      'red     web   net     02:00:00:00:00:11  10.0.0.11,fd00::11  north  installed',
      'red     db    net     02:00:00:00:00:11  10.0.0.11,fd00::11  -      unbound',
    ],
  );
});

test('a tree shows switches and ports below their tenant', () => {
  const tenant = { kind: 'tenant', name: 'red' } as ShownObject;
  const sw = { kind: 'switch', name: 'net', subnets: [{ cidr: '10.0.0.0/24' }] } as unknown as ShownObject;
  assert.equal(
    formatTree([{ tenant, switches: [{ switch: sw, ports: [port], balancers: [] }], routers: [] }]),
    ['red', '└─ net  10.0.0.0/24', '   └─ web  02:00:00:00:00:11  10.0.0.11 fd00::11  north  up'].join('\n'),
  );
});

test('the tree tells of a router where it leads, what it translates and whom it serves', () => {
  const of = (kind: string, fields: object) => ({ kind, tenant: 'red', ...fields }) as unknown as ShownObject;
  const router = of('router', {
    name: 'edge',
    routes: [{ to: '0.0.0.0/0', via: '192.0.2.1' }],
    snat: [{ from: '10.0.0.0/8', to: '192.0.2.2' }],
  });
  const ports = [
    of('routerPort', { name: 'in', addresses: ['10.0.0.1/24'], switch: 'net' }),
    of('routerPort', { name: 'out', addresses: ['192.0.2.2/24'], switch: 'isp/public', outside: true }),
  ];
  const status = { state: 'installed', host: 'north' };
  const floating = [of('floatingAddress', { name: 'f', address: '192.0.2.9', port: 'web', status })];
  const listeners = [{ protocol: 'tcp', port: 80 }];
  const balancers = [
    of('loadBalancer', { name: 'vip', address: '192.0.2.8', listeners, adminUp: true, status: { healthy: '1/2' } }),
  ];
  const tenant = { kind: 'tenant', name: 'red' } as ShownObject;
  assert.deepEqual(
    formatTree([{ tenant, switches: [], routers: [{ router, ports, floating, balancers }] }]).split('\n'),
    [
      'red',
      '└─ router edge',
      '   ├─ in   10.0.0.1/24   switch net',
      '   ├─ out  192.0.2.2/24  switch isp/public  outside',
      '   ├─ route 0.0.0.0/0 via 192.0.2.1',
      '   ├─ snat 10.0.0.0/8 → 192.0.2.2',
      '   ├─ floating 192.0.2.9 → web  north  up',
      '   └─ balancer vip  192.0.2.8 tcp/80  1/2 serve',
    ],
  );
});

test('values by path, in cells and on lines', () => {
  assert.equal(cellText(valueAt({ a: [{ b: 1 }, { b: 2 }] }, 'a[].b')), '1,2');
  assert.equal(cellText(valueAt({ a: [{ b: 1 }] }, 'a[0].b')), '1');
  assert.equal(cellText(valueAt({}, 'a.b.c')), '-');
  assert.equal(
    inlineText({ cidr: '10.0.0.0/24', text: 'a b', list: [1, true] }),
    '{ cidr: 10.0.0.0/24, text: "a b", list: [1, true] }',
  );
  assert.deepEqual(describeFields({ name: 'x', a: 1, bcd: [{ e: 1 }, { e: 2 }] } as unknown as ShownObject), [
    '  a    1',
    '  bcd  { e: 1 }',
    '       { e: 2 }',
  ]);
});

const plan: Plan = {
  revision: 4,
  changes: [
    { action: 'create', kind: 'tenant', id: '1', name: 'red', changes: [] },
    {
      action: 'update',
      kind: 'port',
      id: '2',
      name: 'web',
      tenant: 'red',
      changes: [{ path: 'mtu', before: 1, after: 2 }],
    },
    { action: 'unchanged', kind: 'host', id: '3', name: 'north', changes: [] },
    { action: 'delete', kind: 'port', id: '4', name: 'old', tenant: 'red', changes: [] },
  ],
};

test('a plan is one line per object as a result, and only differences as a diff', () => {
  assert.deepEqual(formatResult(plan).split('\n'), [
    'tenant red    created',
    'port red/web  changed  mtu',
    'host north    unchanged',
    'port red/old  deleted',
  ]);
  assert.deepEqual(formatDiff(plan).split('\n'), [
    '+ tenant red',
    '~ port red/web',
    '    mtu: 1 → 2',
    '- port red/old',
  ]);
  assert.equal(summaryOf(plan), '1 created, 1 changed, 1 deleted, 1 unchanged');
});

const status: StatusAnswer = {
  server: { revision: 8, uptimeMs: 120_000, memoryBytes: 1e8 },
  objects: { tenant: 1, switch: 2, port: 3, chain: 0, rule: 0 },
  hosts: [{ id: 'a', name: 'north', state: 'alive', lag: 0, problems: [] }],
  ports: { installed: 3 },
  problems: [],
};

test('the verdict is the worst that there is, with the next step', () => {
  assert.equal(judge(status).isGood, true);
  assert.equal(judge({ ...status, ports: { installed: 2, unbound: 1 } }).isGood, true);
  const dead = { ...status.hosts[0]!, id: 'b', name: 'south', state: 'dead' } as const;
  const verdict = judge({ ...status, hosts: [...status.hosts, dead], ports: { installed: 2, 'host-down': 1 } });
  assert.equal(verdict.text, 'south: no agent answers, 1 ports concerned');
  assert.match(verdict.next, /weft describe host south/);
  const young = {
    ...status,
    server: { ...status.server, uptimeMs: 900 },
    hosts: [{ ...dead, state: 'unknown' }],
  } as const;
  assert.match(judge(young).text, /just started; waiting for south/);
  assert.equal(formatStatus(status, []).split('\n')[0], 'all right');
  const drained = { ...status, hosts: [{ ...status.hosts[0]!, drain: true }] } as const;
  assert.equal(judge(drained).isGood, true);
  assert.match(formatStatus(drained, []), /^all right; north is drained[\s\S]*north {2}alive, drained/);
});

test('a watched change says what changed', () => {
  const message = { type: 'put', revision: 4, object: { ...port, adminUp: false } as ShownObject } as const;
  assert.match(describeChange(message, port)[0]!, /~ port red\/web {2}adminUp: true → false$/);
  assert.match(describeChange({ type: 'delete', revision: 5, kind: 'port', id: 'x' }, port)[0]!, /- port red\/web$/);
});

test('every error code has an exit code, and only those that scripts tell apart have their own', () => {
  const codes = Object.fromEntries(
    (Object.keys(ERROR_CODES) as ErrorCode[]).map((code) => [code, exitCodeOf(new WeftError(code, 'x'))]),
  );
  assert.deepEqual(
    {
      notFound: codes['not-found'],
      conflict: codes.conflict,
      denied: codes.denied,
      unreachable: codes.unreachable,
      timeout: codes.timeout,
      invalid: codes.invalid,
    },
    { notFound: 3, conflict: 4, denied: 5, unreachable: 6, timeout: 124, invalid: 1 },
  );
  assert.equal(exitCodeOf(new Error('x')), EXIT.failure);
});

test('durations as people write and read them', () => {
  assert.deepEqual(['30', '30s', '2m', '500ms', '1h', 'x', ''].map(parseDuration), [
    30_000,
    30_000,
    120_000,
    500,
    3_600_000,
    undefined,
    undefined,
  ]);
  assert.deepEqual([0, 119_000, 600_000, 10_800_000, 400_000_000].map(ageText), [
    '0 s',
    '119 s',
    '10 min',
    '3 h',
    '5 d',
  ]);
});

test('describe says for how long a client keeps its member', () => {
  const kept = { client: '10.0.0.5', member: 'web-1', untilMs: 250_000 };
  assert.equal(keptLine(kept, 10_000), '10.0.0.5 keeps web-1 for 240 s more');
  assert.equal(keptLine(kept, 260_000), '10.0.0.5 keeps web-1 for 0 s more');
});

test('a format that a command does not know is refused with those that it does', async () => {
  const parse = (...words: string[]) =>
    new Command()
      .addOption(outputOption(['text', 'json']))
      .parse(words, { from: 'user' })
      .opts();
  assert.deepEqual([parse(), parse('-o', 'json')], [{ output: 'text' }, { output: 'json' }]);
  assert.throws(() => parse('-o', 'wide'), /-o wide: text or json is wanted/);
});

test('what a terminal would act on is escaped in cells', () => {
  assert.equal(cellText(['sells', '\u001b[2Jred things']), 'sells,\\u001b[2Jred things');
});

test('a creation that is planned says which values are not certain yet', () => {
  const changes = [
    { path: 'mac', after: '02:00:00:00:00:01', isAllocated: true as const },
    { path: 'switch', after: 'net' },
  ];
  const plan: Plan = { revision: 1, changes: [{ action: 'create', kind: 'port', id: 'x', name: 'web', changes }] };
  assert.deepEqual(formatDiff(plan).split('\n').slice(1), ['    mac: (allocated)', '    switch: net']);
});
