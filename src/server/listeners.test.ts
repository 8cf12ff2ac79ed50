import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { WeftError } from '../base/errors.ts';
import { createLog, silentLog } from '../base/log.ts';
import { createCertificate } from './certificate.ts';
import { type Client, createClient } from './client.ts';
import { startServer } from './server.ts';

let directory: string;
before(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-listeners-'));
});
after(() => rmSync(directory, { recursive: true }));

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'ok',
    (error: unknown) => (error instanceof WeftError ? error.code : String(error)),
  );

test('nothing listens beyond loopback without TLS and tokens', async () => {
  const start = (listen: string, more: object = {}): Promise<string> =>
    codeOf(startServer({ stateDir: join(directory, 'never'), listen: [listen], log: silentLog, ...more }));
  assert.equal(await start('tcp:0.0.0.0:7070'), 'denied');
  assert.equal(await start('tls:0.0.0.0:7443'), 'denied');
  assert.equal(await start('tls:127.0.0.1:7443', { tlsCertFile: '/a', tlsKeyFile: '/b' }), 'denied');
  assert.equal(await start('udp:1'), 'invalid');
});

test('over TLS a token is asked, and a host token opens its own host only', async () => {
  const { cert, key } = createCertificate({ names: ['localhost', '127.0.0.1'] });
  const file = (name: string, text: string): string => {
    writeFileSync(join(directory, name), text);
    return join(directory, name);
  };
  const digest = (token: string): string => createHash('sha256').update(token).digest('hex');
  const server = await startServer({
    stateDir: join(directory, 'tls'),
    listen: ['tls:127.0.0.1:0', 'tcp:127.0.0.1:0'],
    tlsCertFile: file('cert.pem', cert),
    tlsKeyFile: file('key.pem', key),
    tokenFile: file('tokens', `# who\n${digest('secret')} admin\n${digest('of-h1')} host:h1\n`),
    log: silentLog,
  });
  const [tls, tcp] = server.urls;
  const client = (url: string, token?: string) =>
    createClient({ url, ca: cert, ...(token === undefined ? {} : { token }) });
  const admin = client(tls!, 'secret');
  const agent = client(tls!, 'of-h1');
  try {
    await admin.post('/v1/apply', {
      objects: [
        { kind: 'tunnelZone', name: 'dc' },
        { kind: 'host', name: 'h1', zone: 'dc', tunnelAddress: '10.9.0.1' },
        { kind: 'host', name: 'h2', zone: 'dc', tunnelAddress: '10.9.0.2' },
      ],
    });
    assert.equal(await codeOf(client(tls!).get('/v1/status')), 'denied');
    assert.equal(await codeOf(client(tls!, 'wrong').get('/v1/status')), 'denied');
    assert.equal(await codeOf(client(tcp!).get('/v1/status')), 'denied');
    assert.equal(await codeOf(agent.post('/v1/hosts/h1/reports', { reports: [] })), 'ok');
    assert.equal(await codeOf(agent.post('/v1/hosts/h2/reports', { reports: [] })), 'denied');
    assert.equal(await codeOf(agent.get('/v1/ports')), 'denied');
    assert.equal(await codeOf(agent.request('DELETE', '/v1/hosts/h1')), 'denied');
    assert.equal(await codeOf(createClient({ url: tls! }).get('/v1/status')), 'unreachable');
  } finally {
    admin.close();
    agent.close();
    await server.close();
  }
});

test('a second server on the same socket or store is refused, and the first goes on', async () => {
  const listen = [`unix:${join(directory, 's.sock')}`];
  const server = await startServer({ stateDir: join(directory, 'one'), listen, log: silentLog });
  try {
    assert.equal(await codeOf(startServer({ stateDir: join(directory, 'two'), listen, log: silentLog })), 'busy');
    const other = [`unix:${join(directory, 't.sock')}`];
    assert.equal(
      await codeOf(startServer({ stateDir: join(directory, 'one'), listen: other, log: silentLog })),
      'busy',
    );
    const client = createClient({ url: server.urls[0]! });
    assert.equal(await codeOf(client.get('/v1/status')), 'ok');
    client.close();
  } finally {
    await server.close();
  }
});

test('a token that is made or revoked while the server runs counts at once', async () => {
  const digest = (token: string): string => createHash('sha256').update(token).digest('hex');
  const tokenFile = join(directory, 'changing');
  writeFileSync(tokenFile, `${digest('old')} admin\n`);
  const listen = ['tcp:127.0.0.1:0'];
  const logged: string[] = [];
  const log = createLog('error', (line) => void logged.push(line));
  const server = await startServer({ stateDir: join(directory, 'changing-state'), listen, tokenFile, log });
  const ask = async (token: string): Promise<string> => {
    const client = createClient({ url: server.urls[0]!, token });
    const code = await codeOf(client.get('/v1/status'));
    client.close();
    return code;
  };
  try {
    assert.deepEqual([await ask('old'), await ask('new')], ['ok', 'denied']);
    writeFileSync(tokenFile, `${digest('new')} admin\n`);
    assert.deepEqual([await ask('old'), await ask('new')], ['denied', 'ok']);
    assert.deepEqual(logged, []);
    writeFileSync(tokenFile, 'half-written');
    assert.deepEqual([await ask('old'), await ask('new')], ['denied', 'ok']);
    assert.match(logged.join(''), /token file does not read.*line 1/);
    writeFileSync(tokenFile, '# the last one is revoked\n');
    assert.deepEqual([await ask('old'), await ask('new')], ['denied', 'denied']);
    writeFileSync(tokenFile, `${digest('old')} admin\n`);
    assert.deepEqual([await ask('old'), await ask('new')], ['ok', 'denied']);
    rmSync(tokenFile);
    assert.deepEqual([await ask('old'), await ask('new')], ['denied', 'denied']);
  } finally {
    await server.close();
  }
});

test('streams of a token that is revoked end, and those of others go on', { timeout: 20_000 }, async () => {
  const digest = (token: string): string => createHash('sha256').update(token).digest('hex');
  const tokenFile = join(directory, 'of-streams');
  const kept = `${digest('kept')} admin\n`;
  writeFileSync(tokenFile, `${kept}${digest('gone')} admin\n${digest('of-h1')} host:h1\n`);
  const listen = ['tcp:127.0.0.1:0'];
  const server = await startServer({ stateDir: join(directory, 'streams-state'), listen, tokenFile, log: silentLog });
  const clients = ['kept', 'gone', 'of-h1'].map((token) => createClient({ url: server.urls[0]!, token }));
  const [staying, revoked, agent] = clients as [Client, Client, Client];
  try {
    await staying.post('/v1/apply', {
      objects: [
        { kind: 'tunnelZone', name: 'dc' },
        { kind: 'host', name: 'h1', zone: 'dc', tunnelAddress: '10.9.0.1' },
      ],
    });
    const goesOn = staying.stream('GET', '/v1/watch');
    const ending = [
      revoked.stream('GET', '/v1/watch'),
      revoked.stream('GET', '/v1/flows/watch'),
      agent.stream('POST', '/v1/hosts/h1/watch', { body: { have: {} } }),
    ];
    for (const stream of [goesOn, ...ending]) assert.equal((await stream.next()).done, false);
    // Nobody asks anything meanwhile.
    writeFileSync(tokenFile, kept);
    for (const stream of ending) assert.equal(await codeOf(toEnd(stream)), 'closed');
    await staying.post('/v1/tenants', { name: 'later' });
    for (;;) {
      const { value } = await goesOn.next();
      if (JSON.stringify(value).includes('later')) break;
    }
    await goesOn.return();
  } finally {
    for (const client of clients) client.close();
    await server.close();
  }
});

async function toEnd(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream);
}
