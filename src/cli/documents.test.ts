import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { WeftError } from '../base/errors.ts';
import { parseObject } from '../model/parse.ts';
import { TrialModel } from '../server/testing/trial-model.ts';
import { locateProblems, parseObjects, readObjects } from './documents.ts';

const refuses = (text: string, pattern: RegExp): void =>
  assert.throws(
    () => parseObjects('a.yaml', text),
    (error) => error instanceof WeftError && error.code === 'invalid' && pattern.test(error.message),
  );

test('documents and lists of objects are read, kinds in any of their forms', () => {
  const text = 'kind: Port\nname: a\n---\n---\n- { kind: tunnel-zone, name: z }\n- { kind: sw, name: s }\n';
  const objects = parseObjects('a.yaml', text).map(({ object }) => `${object.kind} ${object.name}`);
  assert.deepEqual(objects, ['port a', 'tunnelZone z', 'switch s']);
});

test('an empty file and a file of comments hold nothing', () => {
  assert.deepEqual(parseObjects('a.yaml', ''), []);
  assert.deepEqual(parseObjects('a.yaml', '# nothing\n---\n'), []);
});

test('malformed YAML is refused with file, line and column, every place of it', () => {
  refuses('kind: port\nname: a\n  bad: [\n', /a\.yaml:\d+:\d+: not YAML/);
  refuses('kind: port\nname: a\nname: b\n', /a\.yaml:3:1: not YAML: .*unique/);
  refuses(
    'kind: prot\nname: a\n---\nkind: port\n',
    /a\.yaml:1:1: kind: there is no kind prot[\s\S]*a\.yaml:4:1: the port has no name/,
  );
  refuses('just text', /a\.yaml:1:1: an object with kind and name is wanted/);
  refuses('kind: port\nname: 12\n', /a\.yaml:2:1: name: text is wanted; write "12" in quotes/);
});

test('a file of very many documents is refused before it is parsed', () => {
  refuses('---\nkind: port\n'.repeat(100_001), /^a\.yaml has 100002 documents, more than 100000: apply it in parts$/);
});

test('a problem of the server is placed at its field, or at the nearest one around it', () => {
  const text = [
    'kind: switch',
    'tenant: acme',
    'name: net',
    'subnets:',
    '  - cidr: 10.0.0.0/24',
    '  - cidr: 10.0.0.0/25',
    '---',
    '- kind: port',
    '  tenant: acme',
    '  name: net',
    '  swich: net',
  ].join('\n');
  const sources = parseObjects('net.yaml', text);
  const located = locateProblems(
    [
      { object: 'switch acme/net', path: 'subnets[1].cidr', code: 'subnet-overlap', message: 'overlaps' },
      { object: 'port acme/net', path: 'swich', code: 'schema', message: 'no such field', hint: 'switch?' },
      { object: 'port acme/net', path: 'switch', code: 'schema', message: 'missing' },
      { object: 'host h9', path: '', code: 'in-use', message: 'in use' },
    ],
    sources,
  );
  assert.deepEqual(located, [
    'net.yaml:6:5: switch acme/net: subnets[1].cidr: overlaps',
    'net.yaml:11:3: port acme/net: swich: no such field (switch?)',
    'net.yaml:8:3: port acme/net: switch: missing',
    'host h9: in use',
  ]);
});

test('the examples of protection and of port forwarding apply over those that they build on', () => {
  const model = new TrialModel();
  const objects = (...names: string[]) =>
    readObjects(names.map((name) => resolve('examples', name))).map(({ object }) => object);
  assert.deepEqual(model.apply(objects('hosts.yaml', 'three-tier.yaml', 'provider.yaml')), []);
  assert.deepEqual(model.apply(objects('protection.yaml')), []);
  assert.deepEqual(model.apply(objects('port-forwarding.yaml')), []);
});

test('what is no YAML, or too much of it, is told at its place, shortly, and without what a terminal would act on', () => {
  refuses('kind: port\nname: *nosuch\n', /^a\.yaml:1:1: not YAML: Unresolved alias.*nosuch$/);
  const bomb = [
    'a0: &a0 [x]',
    ...Array.from({ length: 9 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i},`.repeat(9)}]`),
  ];
  refuses(bomb.join('\n'), /^a\.yaml:1:1: not YAML: Excessive alias count/);
  refuses(`kind: tenant\nname: x\nlabels: ${'['.repeat(20_000)}`, /not YAML: nested too deep/);
  refuses(`name: x\n${'} \u001b[2J: \n'.repeat(40)}`, /\\u001b[\s\S]*and \d+ more of these$/);
  refuses(`- 5\n- "${'y'.repeat(10_000)}"\n`, /wanted, not 5\n.*wanted, not "y{79}…$/);
});

test('numbers that JSON has not are refused, not left out', () => {
  refuses('kind: switch\nname: s\nmtu: .nan\n', /^a\.yaml:3:1: mtu: NaN is no number that can be sent$/);
  refuses('kind: router\nname: r\nroutes: [{ weight: 1 }, { weight: -.inf }]\n', /routes\[1\]\.weight: -Infinity/);
});

test('a file that is no text is refused by its name', () => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-documents-'));
  try {
    for (const [name, bytes] of [
      ['zero', 'kind: tenant\0'],
      ['latin', Uint8Array.of(0x6b, 0xe9, 0x0a)],
    ] as const) {
      const path = join(folder, name);
      writeFileSync(path, bytes);
      assert.throws(() => readObjects([path]), {
        code: 'invalid',
        message: `${path} is no text in UTF-8; YAML or JSON is wanted`,
      });
    }
    assert.throws(() => readObjects(['/proc/self/mem']), /cannot read \/proc\/self\/mem: /);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a problem is placed whatever its object is called', () => {
  const names = ['../../etc', 'a\u001b[31mb', 'x'.repeat(1_000), 'two words'];
  const sources = parseObjects('a.yaml', JSON.stringify(names.map((name) => ({ kind: 'port', tenant: 'acme', name }))));
  const problems = names.flatMap((name) => parseObject({ tenant: 'acme', name }, '', 'port').problems ?? []);
  const located = locateProblems(
    problems.filter(({ path }) => path === 'name'),
    sources,
  );
  assert.equal(located.length, names.length);
  for (const [at, text] of located.entries()) {
    assert.ok(text.startsWith(sources[at]!.position('name')), text);
    assert.ok(text.length < 250 && !text.includes('\u001b'), text);
  }
});
