import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BASE, TrialModel } from '../server/testing/trial-model.ts';

// Probes of balancers' members: at which port they ask, where no port is given.

const balancer = (listeners: readonly string[], health: object, more: object = {}): object => ({
  ...{ kind: 'loadBalancer', tenant: 'acme', name: 'vip', address: '10.0.0.80', switch: 'lan' },
  listeners: listeners.map((text) => {
    const [protocol, port] = text.split('/');
    return { protocol, port: Number(port) };
  }),
  ...{ members: [{ port: 'p1' }], health, ...more },
});
const problemsOf = (model: TrialModel, object: object): string[] =>
  model.apply([object]).map(({ code, object: of, path, message }) => `${code} ${of} ${path}: ${message}`);
const modelWith = (...objects: object[]): TrialModel => {
  const model = new TrialModel();
  assert.deepEqual(model.apply([...BASE, ...objects]), []);
  return model;
};

for (const [type, spoken, others] of [
  ['tcp', 'tcp', ['udp/53', 'sctp/80']],
  ['http', 'tcp', ['udp/53']],
  ['udp', 'udp', ['tcp/80', 'sctp/80']],
] as const)
  test(`health of type ${type} is refused where it has neither a port nor a listener of ${spoken}`, () => {
    const model = modelWith();
    const problem = `health loadBalancer acme/vip health.port: health of type ${type} asks over ${spoken}, and no listener is of ${spoken}: it has no port to ask at`;
    assert.deepEqual(problemsOf(model, balancer(others, { type })), [problem]);
    assert.deepEqual(problemsOf(model, balancer(others, { type, port: 9000 })), []);
    assert.deepEqual(problemsOf(model, balancer([...others, `${spoken}/81`], { type })), []);
    assert.deepEqual(problemsOf(model, balancer(others, { type: 'icmp' })), []);
    assert.deepEqual(problemsOf(model, balancer(others, { type })), [problem]);
  });

test('health without a port to ask at, stored before it was refused, may be changed in other ways', () => {
  const model = modelWith(balancer(['sctp/80'], { type: 'icmp' }));
  const [stored] = [...model.index.all('loadBalancer')];
  model.index.put({ ...stored!, health: { ...stored!.health!, type: 'tcp' } });
  assert.deepEqual(problemsOf(model, balancer(['sctp/80'], { type: 'tcp' }, { adminUp: false })), []);
  assert.deepEqual(problemsOf(model, balancer(['sctp/81'], { type: 'http', rise: 1 })), []);
  assert.equal(problemsOf(model, balancer(['sctp/80'], { type: 'udp' })).length, 1);
});
