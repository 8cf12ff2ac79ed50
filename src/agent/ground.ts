import type { CompilerChange } from '../compile/compiler.ts';
import type { ScopeRecord } from '../model/objects.ts';
import type { PortState, Report } from '../server/protocol.ts';
import type { Effect } from './events.ts';
import type { Interfaces } from './interfaces.ts';
import type { Scope } from './scope.ts';

/** What the parts of the core stand on: what is known, and what they may have done. The core itself is one. */
export interface Ground {
  readonly scope: Scope;
  readonly interfaces: Interfaces;
  /** Our host's id; undefined until the server (or the disk) has told. */
  readonly host: string | undefined;
  readonly serverConnected: boolean;
  /** What people should see in the host's status, by a key of whoever says so. */
  readonly problems: Map<string, string>;
  /** New inputs for the flows. */
  compile(changes: readonly CompilerChange[]): Effect[];
  /** The record takes effect here before the server has agreed; what the server then sends replaces it. */
  overlay(record: ScopeRecord): Effect[];
  /** Nothing while the server is away. */
  report(reports: readonly Report[]): Effect[];
  /** States of local ports, as people see them; only what changed travels. */
  reportStates(states: Readonly<Record<string, PortState>>): Effect[];
}
