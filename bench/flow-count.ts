import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Lab } from '../src/lab/lab.ts';
import { INTEGRATION_BRIDGE } from '../src/lab/open-vswitch.ts';
import { connectOpenFlow, type OpenFlowConnection } from '../src/openflow/connection.ts';
import type { Match } from '../src/openflow/flow.ts';
import type { BenchContext } from './bench.ts';

/**
 * How many flows a switch has, asked over a connection of the bench's own: what the agent says does not count. The
 * counters of tables cost the switch the same however many flows it has.
 */
export class FlowCount {
  readonly #connection: OpenFlowConnection;

  private constructor(connection: OpenFlowConnection) {
    this.#connection = connection;
  }

  static async of(context: BenchContext, lab: Lab, host: string): Promise<FlowCount> {
    const path = join(lab.switchOf(host).dir, `${INTEGRATION_BRIDGE}.mgmt`);
    const connection = await connectOpenFlow(`unix:${path}`);
    context.defer(() => connection.close());
    return new FlowCount(connection);
  }

  async now(): Promise<number> {
    const { tables } = await this.#connection.multipart({ kind: 'table' });
    return tables.reduce((sum, table) => sum + table.active, 0);
  }

  /** How many flows match nothing but packets that `match` matches; this costs the switch a look at each. */
  async within(match: Match): Promise<number> {
    return (await this.#connection.multipart({ kind: 'aggregate', match })).flowCount ?? 0;
  }
}

/** A switch answers once in a turn of its main loop, which takes it 10 ms with thousands of interfaces: asked without rest it does little else. */
const SHARE_OF_REST = 9;

/**
 * Watches switches from now until each has changed and all have then stayed the same for `quietMs`. Gives when the last
 * change was seen, by `performance.now()`, and the counts. However quiet it is, it goes on until `during` resolves.
 * Rejects by the context's signal, with `during`, or after `timeoutMs`.
 */
export async function lastChange(
  context: BenchContext,
  switches: readonly FlowCount[],
  options: { readonly quietMs: number; readonly timeoutMs?: number; readonly during?: Promise<unknown> },
): Promise<{ readonly atMs: number; readonly counts: readonly number[] }> {
  const started = performance.now();
  const first = await Promise.all(switches.map((s) => s.now()));
  let counts = first;
  let atMs = started;
  const changed = new Set<number>();
  let isDone = options.during === undefined;
  let failure: { readonly error: unknown } | undefined;
  options.during?.then(
    () => {
      isDone = true;
    },
    (error: unknown) => {
      failure = { error };
    },
  );
  for (;;) {
    context.signal.throwIfAborted();
    if (failure) throw failure.error;
    const askedMs = performance.now();
    const now = await Promise.all(switches.map((s) => s.now()));
    const seenMs = performance.now();
    for (const [i, count] of now.entries()) {
      if (count === counts[i]) continue;
      changed.add(i);
      atMs = seenMs;
    }
    counts = now;
    if (isDone && changed.size === switches.length && seenMs - atMs >= options.quietMs) return { atMs, counts };
    if (seenMs - started > (options.timeoutMs ?? 30_000)) throw new Error(`flows did not change: ${counts.join(', ')}`);
    await delay(SHARE_OF_REST * (seenMs - askedMs));
  }
}
