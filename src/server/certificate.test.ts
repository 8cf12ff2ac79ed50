import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { createServer, get } from 'node:https';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { createCertificate } from './certificate.ts';

test('a certificate names what it is for, is signed by its own key, and is valid now', () => {
  const { cert, key } = createCertificate({ names: ['weft.example', '10.0.0.1', 'fd00::1'] });
  const parsed = new X509Certificate(cert);
  assert.equal(parsed.checkHost('weft.example'), 'weft.example');
  assert.equal(parsed.checkIP('10.0.0.1'), '10.0.0.1');
  assert.equal(parsed.checkIP('fd00::1'), 'fd00::1');
  assert.equal(parsed.checkIP('10.0.0.2'), undefined);
  assert.ok(parsed.verify(parsed.publicKey));
  assert.ok(new Date(parsed.validFrom) < new Date() && new Date(parsed.validTo) > new Date());
  assert.match(key, /PRIVATE KEY/);
});

test('a certificate that ends after 2050 has its date right', () => {
  const { cert } = createCertificate({ names: ['a'], nowMs: Date.UTC(2049, 11, 30), days: 10 });
  assert.equal(new Date(new X509Certificate(cert).validTo).toISOString(), '2050-01-09T00:00:00.000Z');
});

test('a client that trusts the certificate connects, one that does not is refused', async () => {
  const own = createCertificate({ names: ['127.0.0.1'] });
  const server = createServer(own, (_request, response) => response.end('hello'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const ask = (ca: string): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      get({ host: '127.0.0.1', port, ca, agent: false }, (response) => resolve(response.resume().statusCode)).on(
        'error',
        reject,
      );
    });
  assert.equal(await ask(own.cert), 200);
  await assert.rejects(ask(createCertificate({ names: ['127.0.0.1'] }).cert));
  server.close();
});
