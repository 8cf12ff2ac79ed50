import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatRouter } from './bgp.ts';

test('a session shows what is taken of its peer, and what accept refused', () => {
  const session = { host: 'gw-1', state: 'established', sinceMs: Date.now(), accepted: 2, sent: 3 };
  const router = (refused: object): string =>
    formatRouter({
      ...{ id: 'r', name: 'core', tenant: 'isp', asn: 64_512, gateways: ['gw-1'], drained: [], learned: 2 },
      advertised: [],
      peers: [
        {
          ...{ id: 'p', name: 'up-1', routerPort: 'up-1', address: '192.0.2.1', asn: 64_601, adminUp: true },
          ...{ state: 'established', accepted: 2, sent: 3, sessions: [{ ...session, ...refused }] },
        },
      ],
    });
  assert.match(router({}), /ACCEPTED +SENT.*\n.* 2 +3/);
  assert.doesNotMatch(router({ refused: 0 }), /refused/);
  assert.match(router({ refused: 7 }), / 2 \(7 refused by accept\) +3/);
});
