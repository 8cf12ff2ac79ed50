// What a newcomer sees first: runs alone, by --all.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { needsRoot, OWN_LABS } from '../lab/lab-name.ts';

const env: NodeJS.ProcessEnv = { ...process.env, WEFT_LAB_DIR: OWN_LABS, NO_COLOR: '1' };

function demo(...args: string[]): { readonly status: number | null; readonly told: string } {
  const { status, stdout, stderr } = spawnSync('./demo', args, { env, encoding: 'utf8', timeout: 300_000 });
  return { status, told: `${stdout}${stderr}` };
}

function namespaces(): string[] {
  return execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' }).match(/^weft-demo-\S+/gm) ?? [];
}

/** What it tells from one of its sentences to another. */
function between(told: string, from: string, to: string): string {
  const [start, end] = [told.indexOf(from), told.indexOf(to)];
  assert.ok(start >= 0 && end > start, `"${from}" is not told before "${to}"`);
  return told.slice(start, end);
}

test('the demo', {
  skip: needsRoot || (namespaces().length > 0 && "a demo runs here: it is somebody's (./demo down)"),
}, async (t) => {
  t.after(() => demo('down'));
  const { status, told } = demo();
  assert.equal(status, 0, told.slice(-2000));

  await t.test('all is right, and all sessions of BGP are up', () => {
    assert.match(between(told, 'Is everything all right?', 'Two gateways speak BGP'), /^all right$/m);
    const sessions = between(told, 'Two gateways speak BGP', 'A visitor on the internet');
    assert.equal(sessions.match(/^up-\d .* established /gm)?.length, 2, sessions);
  });
  await t.test('the shop answers each time, also when a member of each balancer dies', () => {
    const answers = between(told, '… again, eight times', 'A web server and an application server die');
    const counts = [...answers.matchAll(/^ +(\d+) web-[12] app-[12]$/gm)].map(([, count]) => Number(count));
    assert.equal(
      counts.reduce((sum, count) => sum + count, 0),
      8,
      answers,
    );
    const left = between(told, 'A web server and an application server die', 'Who may talk to whom');
    assert.match(left, /^ +8 web-2 app-2$/m);
    assert.equal(left.match(/ 1\/2$/gm)?.length, 2, left);
  });
  await t.test('of each way the trace says first whether it is open, and by what', () => {
    const open = between(told, 'Who may talk to whom', 'Nobody else');
    assert.equal(
      open.match(/^\S+ reaches \S+ on tcp\/\d+ and is answered: .*allowed by rule .* of group /gm)?.length,
      3,
    );
    const closed = between(told, 'Nobody else', 'web-1 has an address of its own');
    assert.equal(closed.match(/^\S+ does not reach \S+ on tcp\/\d+: dropped \(group\) by port /gm)?.length, 3);
    assert.match(closed, /no answer: refused/);
  });
  await t.test('a download is whole though its gateway is powered off', () => {
    const [, arrived] = /as it arrived: +([0-9a-f]{64})/.exec(told) ?? [];
    const [, whole] = /as it should be: +([0-9a-f]{64})/.exec(told) ?? [];
    assert.ok(arrived !== undefined && arrived === whole);
    assert.match(told, /the download goes on/);
  });
  await t.test('nothing of one tenant is at another with the same addresses, nothing of a pretender leaves', () => {
    assert.match(told, /at red\/db: {2}6 packets/);
    assert.match(told, /at blue\/db: 0 packets/);
    assert.match(between(told, 'red-web pretends', 'Everything is up'), /2 packets transmitted, 0 received/);
  });
  await t.test('it ends with what to do next, and goes without a trace', () => {
    assert.match(told, /Try next:[\s\S]*demo down/);
    assert.ok(namespaces().length > 0);
    assert.equal(demo('down').status, 0);
    assert.deepEqual(namespaces(), []);
  });
});
