import { WeftError } from '../base/errors.ts';
import type { Connection } from '../flow-database/flow-store.ts';
import type { ServerContext } from './context.ts';
import type { RelayedAnswer } from './relay.ts';

/** So long the agent of the other host, where the workload still is, has to begin its answer; who asks waits for two seconds. */
const ASK_AHEAD_MS = 1_500;
/** The same when the workload has moved: it waits for a second at most, and there is the flow database still. */
const ASK_MS = 400;
/** So often it is looked whether a workload has moved that was asked for ahead. */
const WATCH_MS = 20;
/** Of the flow database. */
const MOST_TOLD = 20_000;

/**
 * The connections of a port at a host, for another that its workload moves to: as that host's agent reads them now, or, where that is not to be had (also
 * because it is busy with other ports, ahead of the move), as the flow database was told last. Errors: `denied` for a host without an interface of the
 * port; those of the flow database.
 */
export async function importFrom(
  context: Pick<ServerContext, 'state' | 'relay' | 'flows' | 'log'>,
  hostId: string,
  port: string,
  fromId: string,
  signal: AbortSignal,
): Promise<RelayedAnswer | { readonly connections: readonly Connection[] }> {
  const { index } = context.state;
  const hasMoved = (): boolean => index.bindingOf(port)?.active === hostId;
  if (!index.bindingOf(port)?.claims.some(({ host }) => host === hostId))
    throw new WeftError('denied', `this host has no claim of port ${port}`);
  const answer = hasMoved()
    ? await askAgent(context, port, fromId, false, signal)
    : await askAhead(context, port, fromId, hasMoved, signal);
  return answer ?? { connections: await context.flows.list({ port, host: fromId }, MOST_TOLD) };
}

/**
 * The word that the workload has moved may come behind the question: then the agent is asked again, as such a question goes before all others there, and
 * the first answer is taken. What is read is never older than the first question.
 */
async function askAhead(
  context: Pick<ServerContext, 'relay' | 'log'>,
  port: string,
  fromId: string,
  hasMoved: () => boolean,
  signal: AbortSignal,
): Promise<RelayedAnswer | undefined> {
  const ahead = askAgent(context, port, fromId, true, signal);
  let watch: NodeJS.Timeout | undefined;
  const moved = new Promise<boolean>((resolve) => {
    watch = setInterval(() => hasMoved() && resolve(true), WATCH_MS);
  });
  try {
    if (!(await Promise.race([moved, ahead.then(() => false)]))) return await ahead;
  } finally {
    clearInterval(watch);
  }
  const both = [ahead, askAgent(context, port, fromId, false, signal)];
  const answered = both.map(async (each) => (await each) ?? Promise.reject(new WeftError('not-found', 'no answer')));
  const first = await Promise.any(answered).catch(() => undefined);
  for (const each of both)
    void each.then(
      (answer) => answer !== first && answer?.body.destroy(),
      () => {},
    );
  return first;
}

/** Undefined where the agent has none to tell, or does not begin to in time. */
async function askAgent(
  { relay, log }: Pick<ServerContext, 'relay' | 'log'>,
  port: string,
  fromId: string,
  isAhead: boolean,
  signal: AbortSignal,
): Promise<RelayedAnswer | undefined> {
  const withinMs = isAhead ? ASK_AHEAD_MS : ASK_MS;
  const path = `/connections?port=${encodeURIComponent(port)}&withinMs=${withinMs}${isAhead ? '&ahead' : ''}`;
  try {
    const within = AbortSignal.any([signal, AbortSignal.timeout(withinMs)]);
    const answer = await relay.ask(fromId, { method: 'GET', path, body: '' }, within);
    if (answer.status === 200) return answer;
    answer.body.destroy();
    log.info('an agent has no connections of a port to tell', { host: fromId, port, status: answer.status });
  } catch (error) {
    if (!(error instanceof WeftError)) throw error;
    log.info('an agent does not tell the connections of a port', { host: fromId, port, error });
  }
  return undefined;
}
