import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { AgentStreams } from './agent-streams.ts';
import type { DesiredState } from './desired-state.ts';
import type { EventRing } from './events.ts';
import type { FlowDatabase } from './flows.ts';
import type { Presenter } from './present.ts';
import type { Relay } from './relay.ts';
import type { Reports } from './reports.ts';
import type { Runtime } from './runtime.ts';

/** What the routes work with. */
export interface ServerContext {
  readonly state: DesiredState;
  readonly runtime: Runtime;
  readonly streams: AgentStreams;
  readonly reports: Reports;
  readonly events: EventRing;
  readonly flows: FlowDatabase;
  readonly present: Presenter;
  readonly relay: Relay;
  readonly clock: Clock;
  readonly log: Log;
  /** By the clock that does not step. */
  readonly startedMs: number;
  /** Ends every waiting request. */
  readonly signal: AbortSignal;
}
