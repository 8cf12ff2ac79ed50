import { WeftError } from '../base/errors.ts';
import type { Connection } from '../flow-database/flow-store.ts';
import type { ServerContext } from './context.ts';
import type { RelayedAnswer } from './relay.ts';

/** So long the agent of the other host, where the workload still is, has to begin its answer; who asks waits for two seconds. */
const ASK_AHEAD_MS = 1_500;
/** The same when the workload has moved: it waits for a second at most, and there is the flow database still. */
const ASK_MS = 400;
/** Of the flow database. */
const MOST_TOLD = 20_000;

/**
 * The connections of a port at a host, for another that its workload moves to: as that host's agent reads them now, or, where that is not to be had, as the
 * flow database was told last. Errors: `denied` for a host without an interface of the port; those of the flow database.
 */
export async function importFrom(
  { state: { index }, relay, flows, log }: Pick<ServerContext, 'state' | 'relay' | 'flows' | 'log'>,
  hostId: string,
  port: string,
  fromId: string,
  signal: AbortSignal,
): Promise<RelayedAnswer | { readonly connections: readonly Connection[] }> {
  const binding = index.bindingOf(port);
  if (!binding?.claims.some(({ host }) => host === hostId))
    throw new WeftError('denied', `this host has no claim of port ${port}`);
  const path = `/connections?port=${encodeURIComponent(port)}`;
  try {
    const within = AbortSignal.any([signal, AbortSignal.timeout(binding.active === hostId ? ASK_MS : ASK_AHEAD_MS)]);
    const answer = await relay.ask(fromId, { method: 'GET', path, body: '' }, within);
    if (answer.status === 200) return answer;
    answer.body.destroy();
    log.info('an agent has no connections of a port to tell', { host: fromId, port, status: answer.status });
  } catch (error) {
    if (!(error instanceof WeftError)) throw error;
    log.info('an agent does not tell the connections of a port', { host: fromId, port, error });
  }
  return { connections: await flows.list({ port, host: fromId }, MOST_TOLD) };
}
