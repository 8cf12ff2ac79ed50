import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { load } from '../compile/fields.ts';
import type { Flow } from '../openflow/flow.ts';
import type { Effect, FlowChanges, InstalledFlow } from './events.ts';
import { flowBody, flowKey } from './flow-key.ts';
import { changesOf, Installation } from './installation.ts';

const flow = (ofport: number, to: number, cookie = 1n): Flow => ({
  table: 0,
  priority: 100,
  match: { in_port: ofport },
  cookie,
  actions: [{ kind: 'output', port: to }],
});
const installed = (...flows: Flow[]): InstalledFlow[] =>
  flows.map((f) => ({ key: flowKey(f), body: flowBody(f), flow: f }));
type Install = Extract<Effect, { kind: 'install' }>;
const installs = (effects: readonly Effect[]) => effects.filter((effect) => effect.kind === 'install');

test('a read-back that equals the desired flows changes nothing', () => {
  const installation = new Installation();
  assert.deepEqual(installs(installation.readBack(installed(flow(1, 2), flow(2, 1)), [flow(2, 1), flow(1, 2)])), []);
  assert.ok(installation.idle);
});

test('a read-back touches only what differs', () => {
  const installation = new Installation();
  const [bundle] = installs(
    installation.readBack(installed(flow(1, 2), flow(2, 1), flow(3, 9)), [flow(1, 2), flow(2, 7), flow(4, 4)]),
  );
  assert.deepEqual(bundle?.add, [flow(2, 7), flow(4, 4)]);
  assert.deepEqual(bundle?.remove, [flow(3, 9)]);
});

test('a flow with another cookie is installed anew', () => {
  const [bundle] = installs(new Installation().readBack(installed(flow(1, 2, 1n)), [flow(1, 2, 2n)]));
  assert.deepEqual(bundle?.add, [flow(1, 2, 2n)]);
});

test('changes while a bundle is under way are merged into one', () => {
  const installation = new Installation();
  installation.readBack([], []);
  const [first] = installs(installation.change([flow(1, 1)], []));
  assert.deepEqual(installation.change([flow(2, 1)], []), []);
  assert.deepEqual(installation.change([flow(2, 2)], [flow(1, 1)]), []);
  const [second] = installs(installation.installed(first!.id));
  assert.deepEqual(second?.add, [flow(2, 2)]);
  assert.deepEqual(second?.remove, [flow(1, 1)]);
  assert.equal(installation.idle, false);
  assert.deepEqual(installation.installed(second!.id), []);
  assert.ok(installation.idle);
});

test('callbacks run once everything that was desired before them is installed', () => {
  const installation = new Installation();
  installation.readBack([], []);
  const [first] = installs(installation.change([flow(1, 1)], []));
  installation.change([flow(2, 2)], []);
  let ran = 0;
  installation.whenInstalled(() => {
    ran++;
    return [];
  });
  const [second] = installs(installation.installed(first!.id));
  assert.equal(ran, 0);
  installation.installed(second!.id);
  assert.equal(ran, 1);
});

test('a refused flow stays out and the rest goes again', () => {
  const installation = new Installation();
  installation.readBack([], []);
  const [first] = installs(installation.change([flow(1, 1), flow(2, 2), flow(3, 3)], []));
  const [again] = installs(installation.refusedBundle(first!.id, 'OFPBAC_BAD_OUT_PORT', 1));
  assert.deepEqual(again?.add, [flow(1, 1), flow(3, 3)]);
  assert.equal(installation.refused.size, 1);
  installation.installed(again!.id);
  const [mended] = installs(installation.change([flow(2, 9)], []));
  installation.installed(mended!.id);
  assert.equal(installation.refused.size, 0);
});

test('a refusal that names no flow ends the comparison: the core asks for a new one', () => {
  const installation = new Installation();
  installation.readBack([], []);
  const [first] = installs(installation.change([flow(1, 1)], []));
  const effects = installation.refusedBundle(first!.id, 'OFPBFC_TIMEOUT', undefined);
  assert.deepEqual(installs(effects), []);
  assert.equal(installation.synced, false);
  assert.ok(installation.idle);
});

test('nothing is sent to a switch that was not read back', () => {
  const installation = new Installation();
  assert.deepEqual(installation.change([flow(1, 1)], []), []);
  installation.readBack([], [flow(1, 1)]);
  installation.lost();
  assert.deepEqual(installation.change([flow(2, 1)], []), []);
});

test('a flow that no message can hold does not stop the comparison; it is sent, to be refused by name', () => {
  const huge: Flow = { ...flow(1, 2), actions: Array.from({ length: 5000 }, () => ({ kind: 'output', port: 2 })) };
  const [bundle] = installs(new Installation().readBack(installed(flow(1, 2)), [huge, flow(2, 1)]));
  assert.deepEqual(bundle?.add, [huge, flow(2, 1)]);
});

describe('a large change', () => {
  /** A switch's flows: what leads to it, and many for it. */
  const MANY = 1_200;
  const leading = (ofport: number, key: number): Flow => ({
    ...{ table: 0, priority: 100, match: { in_port: ofport }, cookie: 1n },
    actions: load({ switch: key }),
  });
  const within = (key: number, out = 1): Flow[] =>
    Array.from({ length: MANY }, (_, n) => ({
      ...{ table: 3, priority: 1, match: { reg1: key, eth_dst: n }, cookie: 1n },
      actions: [{ kind: 'output', port: out } as const],
    }));
  const known = [leading(1, 7), ...within(7)];

  test('has what no packet can meet yet ahead, and what leads to it behind; what is taken away goes the other way round', () => {
    let desired: readonly Flow[] = [];
    const installation = new Installation(() => desired);
    desired = known;
    const [first] = installs(installation.readBack([], desired));
    assert.deepEqual(sizes(first), { ahead: [MANY, 0], bundle: [0, 0], behind: [1, 0] });
    assert.equal(first!.behind.add[0], known[0]);
    installation.installed(first!.id);

    const news = [leading(2, 8), ...within(8)];
    desired = news;
    const [second] = installs(installation.change(news, known, []));
    assert.deepEqual(sizes(second), { ahead: [MANY, 1], bundle: [0, 0], behind: [1, MANY] });
    assert.deepEqual([second!.ahead.remove, second!.behind.add], [[known[0]], [news[0]]]);
    assert.deepEqual(second!.ahead.add, news.slice(1));
    assert.deepEqual(second!.behind.remove, known.slice(1));
  });

  test('has flows in its bundle that packets may meet: for what others lead to, and several by one way in', () => {
    let desired: readonly Flow[] = known;
    const installation = new Installation(() => desired);
    installation.installed(installs(installation.readBack(installed(...known), desired))[0]?.id ?? 0);
    desired = [known[0]!, ...within(7, 2)];
    const [changed] = installs(installation.change(desired.slice(1), [], known.slice(1)));
    assert.deepEqual(sizes(changed), { ahead: [0, 0], bundle: [MANY, 0], behind: [0, 0] });
    installation.installed(changed!.id);

    // What led to it led elsewhere a moment ago: nothing is strange to that.
    const former = desired;
    const second = { ...leading(2, 9), priority: 99 };
    desired = [leading(1, 9), leading(2, 9), second, ...within(9)];
    const [moved] = installs(installation.change(desired, former.slice(1), [leading(1, 9)]));
    assert.deepEqual(sizes(moved), { ahead: [0, 0], bundle: [MANY + 3, 0], behind: [0, MANY] });
  });

  test('is one bundle where it is not known what was there, and when it goes again without a refused flow', () => {
    let desired: readonly Flow[] = [];
    const installation = new Installation(() => desired);
    installation.readBack([], []);
    desired = known;
    const [unknown] = installs(installation.change(known, [], undefined));
    assert.deepEqual(sizes(unknown), { ahead: [0, 0], bundle: [MANY + 1, 0], behind: [0, 0] });
    installation.installed(unknown!.id);
    const news = [leading(2, 8), ...within(8)];
    desired = [...known, ...news];
    const [parts] = installs(installation.change(news, [], []));
    assert.deepEqual(sizes(parts), { ahead: [MANY, 0], bundle: [0, 0], behind: [1, 0] });
    const [again] = installs(installation.refusedBundle(parts!.id, 'OFPBAC_BAD_OUT_PORT', 3));
    assert.deepEqual(sizes(again), { ahead: [0, 0], bundle: [MANY, 0], behind: [0, 0] });
    assert.ok(!again!.add.includes(parts!.ahead.add[3]!));
  });

  test('knows what was to go and came again in another form while it waited: packets meet it until then', () => {
    let desired: readonly Flow[] = known;
    const installation = new Installation(() => desired);
    installation.readBack(installed(...known), desired);
    desired = [flow(5, 5), ...known];
    const [small] = installs(installation.change([flow(5, 5)], [], []));
    desired = [flow(5, 5), ...known.slice(1)];
    installation.change([], [known[0]!], []);
    desired = [flow(5, 5), leading(1, 8), ...within(7, 2)];
    installation.change([leading(1, 8), ...within(7, 2)], [], known.slice(1));
    const [next] = installs(installation.installed(small!.id));
    assert.deepEqual(sizes(next).ahead, [0, 0]);
  });

  test('that waited for another is told apart as well, unless one of what waited is not known', () => {
    for (const [replaced, ahead] of [
      [[], MANY],
      [undefined, 0],
    ] as const) {
      let desired: readonly Flow[] = [];
      const installation = new Installation(() => desired);
      installation.readBack([], []);
      const [small] = installs(installation.change([flow(5, 5)], [], []));
      installation.change([flow(6, 6)], [], replaced);
      desired = [flow(5, 5), flow(6, 6), ...known];
      assert.deepEqual(installation.change(known, [], []), []);
      const [next] = installs(installation.installed(small!.id));
      assert.equal(next!.ahead.add.length, ahead);
      assert.equal([...changesOf(next!)].length, known.length + 1);
    }
  });
});

function sizes(install: Install | undefined): Record<'ahead' | 'bundle' | 'behind', [add: number, remove: number]> {
  const of = ({ add, remove }: FlowChanges): [number, number] => [add.length, remove.length];
  assert.ok(install);
  return { ahead: of(install.ahead), bundle: of(install), behind: of(install.behind) };
}
