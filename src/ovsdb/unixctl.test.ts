import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { noOvsdbServer, OvsdbTestServer } from './ovsdb-server.test-support.ts';
import { unixctl } from './unixctl.ts';

test('unixctl: commands run in order, and one that is refused gives the words of the daemon', {
  skip: noOvsdbServer,
}, async () => {
  await using server = await OvsdbTestServer.start();
  const control = join(server.folder, 'ctl');
  const [version, databases] = await unixctl(control, [['version'], ['ovsdb-server/list-dbs']]);
  assert.match(version!, /^ovsdb-server \(Open vSwitch\) \d/);
  assert.match(databases!, /^Open_vSwitch$/m);
  await assert.rejects(unixctl(control, [['version'], ['nonsense', 'x']]), {
    code: 'refused',
    message: /nonsense x: "nonsense" is not a valid command/,
  });
  await assert.rejects(unixctl(join(server.folder, 'nobody'), [['version']]), { code: 'unreachable' });
  assert.deepEqual(await unixctl(control, []), []);
});
