import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseHex } from '../base/bytes.ts';
import { WeftError } from '../base/errors.ts';
import { readFrame } from '../simulate/frame.ts';
import { threeTier } from '../simulate/three-tier.fixture.ts';
import { traceConversation } from './trace-conversation.ts';

const model = threeTier();
const trace = (port: string, to: string, protocol = 'tcp/80'): ReturnType<typeof traceConversation> =>
  traceConversation(model, { port, to, protocol });

test('destinations are ports, floating addresses and load balancers by name, and addresses', () => {
  const first = (to: string): string => trace('web-1', to).out!.outcome.steps.at(-1)!.text;
  assert.match(trace('web-2', 'web-1', 'icmp').verdict, /^web-2 reaches web-1 by ping/);
  assert.match(trace('web-2', 'public-web', 'tcp/22').verdict, /203\.0\.113\.20 leads to 10\.0\.1\.11 port 22/);
  assert.match(trace('web-1', 'api', 'tcp/8000').verdict, /10\.0\.2\.100 leads to/);
  assert.match(trace('client', 'acme/shop', 'tcp/80').verdict, /203\.0\.113\.80 leads to/);
  assert.match(trace('web-1', '10.0.2.100', 'tcp/8000').verdict, /10\.0\.2\.100 leads to/);
  assert.match(first('operator/client'), /delivered to client/);
});

test('a port by name is not reached where its address is somebody else’s', () => {
  const twins = threeTier();
  const real = twins.get('port', 'db-1')!;
  twins.put({ ...real, id: 'twin', name: 'twin', switch: 'web', key: 4_000 });
  const { verdict, isGood } = traceConversation(twins, { port: 'app-1', to: 'twin', protocol: 'tcp/5432' });
  assert.match(verdict, /app-1 does not reach .*twin: from there, 10\.0\.3\.11 is .*db-1$/);
  assert.equal(isGood, false);
});

test('IPv4 goes first, IPv6 where one end has nothing else', () => {
  assert.match(trace('web-1', 'app-1', 'tcp/8000').out!.frame.slice(24, 28), /0800/);
  assert.match(trace('web-1', '2001:db8:2::11', 'tcp/8000').out!.frame.slice(24, 28), /86dd/);
});

test('an answer can be shown as JSON, and names the hosts of the way with what comes in there', () => {
  const answer = trace('client', 'acme/shop');
  assert.deepEqual(JSON.parse(JSON.stringify(answer)), answer);
  assert.ok(JSON.stringify(trace('web-1', '2001:db8:2::11', 'tcp/8000')).includes('2001:db8:2::11'));
  const [here, there] = answer.out!.hosts;
  assert.deepEqual([here!.name, here!.tunnel], ['h3', undefined]);
  assert.equal(there!.tunnel!.key, model.get('routerPort', 'edge/outside')!.key);
  assert.match(there!.frame!, /^024d/);
  const member = readFrame(parseHex(trace('web-1', 'db-1', 'tcp/1').out!.frame));
  assert.equal(member.ip?.ttl, 64);
});

test('what is not there is named, with what was perhaps meant', () => {
  const failing = (run: () => unknown, code: string, text: RegExp): void =>
    assert.throws(run, (error) => error instanceof WeftError && error.code === code && text.test(error.message));
  failing(() => trace('web-1', 'app-11'), 'not-found', /app-11.*nor a floating address or a load balancer/);
  failing(() => trace('nobody', 'app-1'), 'not-found', /there is no port nobody/);
  failing(() => trace('web-1', 'app-1', 'tcp'), 'invalid', /tcp\/443/);
});
