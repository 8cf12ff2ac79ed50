import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { silentLog } from '../base/log.ts';
import { connectOvsdb } from './client.ts';
import { Bridge, Interface, OPEN_VSWITCH_DB, OpenVswitch } from './open-vswitch-tables.ts';
import { insert, select, update } from './operations.ts';
import { noOvsdbServer, OvsdbTestServer } from './ovsdb-server.test-support.ts';
import { watch } from './replica.ts';

test('readme: its example does what it says', { skip: noOvsdbServer }, async () => {
  await using server = await OvsdbTestServer.start();
  const example = /```ts\n([\s\S]*?)```/.exec(readFileSync(join(import.meta.dirname, 'README.md'), 'utf8'))![1]!;
  const folder = pathToFileURL(import.meta.dirname).href;
  const script = join(server.folder, 'example.ts');
  const text = example.replace(/from '\.\//g, `from '${folder}/`).replace('unix:/run/openvswitch/db.sock', server.unix);
  writeFileSync(script, `import { silentLog as log } from '${folder}/../base/log.ts';\n${text}`);

  // In the place of ovs-vswitchd: carries everything out at once.
  using vswitchd = connectOvsdb(server.unix, { log: silentLog });
  await vswitchd.transact(OPEN_VSWITCH_DB, [insert(OpenVswitch, {})]);
  const followed: Promise<unknown>[] = [];
  await vswitchd.monitor(OPEN_VSWITCH_DB, [watch(OpenVswitch, ['next_cfg'])], ({ changes }) => {
    for (const change of changes)
      if (change.kind === 'modify')
        followed.push(vswitchd.transact(OPEN_VSWITCH_DB, [update(OpenVswitch, [], { cur_cfg: change.row.next_cfg })]));
  });
  const { stdout } = await promisify(execFile)(process.execPath, [script], { timeout: 10_000 });
  assert.match(stdout, /^update insert [0-9a-f-]{36}$/m);
  const [[bridge], [port]] = await vswitchd.transact(OPEN_VSWITCH_DB, [
    select(Bridge, [], ['name', 'other_config']),
    select(Interface, [], ['external_ids']),
  ]);
  assert.equal(bridge!.other_config.get('disable-in-band'), 'true');
  assert.equal(port!.external_ids.get('weft-installed'), 'true');
  await Promise.all(followed);
});
