import { WeftError } from '../base/errors.ts';
import { bounded, type CallOptions } from './bounded.ts';
import type { OvsdbClient } from './client.ts';
import type { ChangeBatch, Monitor } from './monitor.ts';
import { OPEN_VSWITCH_DB, OpenVswitch } from './open-vswitch-tables.ts';
import { mutate, type Operation, type OperationResult, select } from './operations.ts';
import { type Watched, watch } from './replica.ts';

/**
 * Writing the configuration is one thing, Open vSwitch carrying it out another: whoever changes it counts `next_cfg` up
 * in the same transaction, and ovs-vswitchd sets `cur_cfg` to that once it is done (ovs-vswitchd.conf.db(5)).
 */

/** Results of the operations, and the `next_cfg` that Open vSwitch has reached or passed. */
export interface CarriedOut<Ops extends readonly Operation[]> {
  readonly results: { -readonly [K in keyof Ops]: OperationResult<Ops[K]> };
  readonly cfg: number;
}

/**
 * Carries out the operations, and resolves once ovs-vswitchd has made them so. Throws like `OvsdbClient.transact`;
 * `timeout` also when the transaction is committed but ovs-vswitchd does not follow (is it running?), and `not-found`
 * where the database has no root row yet.
 */
export async function transactAndWait<const Ops extends readonly Operation[]>(
  client: OvsdbClient,
  operations: Ops,
  options: CallOptions = {},
): Promise<CarriedOut<Ops>> {
  const endMs = performance.now() + (options.timeoutMs ?? 30_000);
  const bump = [mutate(OpenVswitch, [], [['next_cfg', '+=', 1]]), select(OpenVswitch, [], ['next_cfg'])] as const;
  const all: readonly unknown[] = await client.transact(OPEN_VSWITCH_DB, [...operations, ...bump], options);
  const rows = all.at(-1) as OperationResult<(typeof bump)[1]>;
  const cfg = rows[0]?.next_cfg;
  if (cfg === undefined)
    throw new WeftError('not-found', 'the Open_vSwitch table has no row: the database is not initialised');
  const timeoutMs = Math.max(0, endMs - performance.now());
  await reachCfg(client, cfg, { signal: options.signal, timeoutMs });
  return { results: all.slice(0, operations.length) as CarriedOut<Ops>['results'], cfg };
}

/** Resolves once ovs-vswitchd has carried out all that is in the database now. Gives the `cur_cfg` reached. Throws like `transactAndWait`. */
export async function waitForCurCfg(client: OvsdbClient, options: CallOptions = {}): Promise<number> {
  return (await transactAndWait(client, [], options)).cfg;
}

const CUR_CFG = [watch(OpenVswitch, ['cur_cfg'])] as const;

async function reachCfg(client: OvsdbClient, cfg: number, options: CallOptions): Promise<void> {
  const given = new AbortController();
  let monitor: Monitor<Watched> | undefined;
  const late = (code: 'timeout' | 'aborted'): WeftError =>
    new WeftError(code, `the transaction is committed, but ovs-vswitchd has not carried it out (next_cfg ${cfg})`);
  try {
    await bounded<void>(options, late, (resolve, reject) => {
      const onBatch = ({ changes }: ChangeBatch<(typeof CUR_CFG)[number]>): void => {
        for (const change of changes) if (change.kind !== 'delete' && change.row.cur_cfg >= cfg) resolve();
      };
      client
        .monitor(OPEN_VSWITCH_DB, CUR_CFG, onBatch, { signal: given.signal, timeoutMs: options.timeoutMs })
        .then((started) => {
          monitor = started as unknown as Monitor<Watched>;
          if (given.signal.aborted) monitor.cancel();
        }, reject);
      return () => {};
    });
  } finally {
    given.abort();
    monitor?.cancel();
  }
}
