import { silentLog } from '../src/base/log.ts';
import type { Lab } from '../src/lab/lab.ts';
import { connectOvsdb } from '../src/ovsdb/client.ts';
import { Interface, OPEN_VSWITCH_DB } from '../src/ovsdb/open-vswitch-tables.ts';
import { watch } from '../src/ovsdb/replica.ts';
import type { BenchContext } from './bench.ts';

/**
 * Interfaces of a host that its agent has marked as installed in the switch's database, and when that was heard of (by
 * `performance.now()`): the word that hypervisors wait for before they start a workload.
 */
export async function watchMarks(
  context: BenchContext,
  lab: Lab,
  host: string,
  mark: string,
): Promise<ReadonlyMap<string, number>> {
  const marked = new Map<string, number>();
  const client = connectOvsdb(`unix:${lab.switchOf(host).database}`, { log: silentLog, probeMs: 0 });
  context.defer(() => client.close());
  await client.monitor(OPEN_VSWITCH_DB, [watch(Interface, ['name', 'external_ids'])] as const, ({ changes }) => {
    for (const change of changes) {
      if (change.kind === 'delete') {
        marked.delete(change.old.name);
        continue;
      }
      const { name, external_ids } = change.row;
      if (external_ids.get(mark) !== 'true') marked.delete(name);
      else if (!marked.has(name)) marked.set(name, performance.now());
    }
  });
  return marked;
}
