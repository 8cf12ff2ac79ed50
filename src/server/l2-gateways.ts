import { describe } from '../model/describe.ts';
import type { ModelIndex } from '../model/model-index.ts';
import type { Binding, Outside } from '../model/objects.ts';
import { placesOf } from '../model/vteps.ts';
import { activatePort, type Notice } from './bindings.ts';
import type { DesiredState } from './desired-state.ts';
import type { Runtime } from './runtime.ts';

/** Of which host the attachment of an L2 gateway or VTEP binding forwards: the active claim of its port (docs/design/l2-gateways.md, §2). */
export class L2Gateways {
  readonly #state: DesiredState;
  readonly #runtime: Runtime;

  constructor(state: DesiredState, runtime: Runtime) {
    this.#state = state;
    this.#runtime = runtime;
  }

  /** Looks at these again; what was decided is written when this returns. Returns what people should hear. */
  async judge(gateways: Iterable<Outside>): Promise<readonly Notice[]> {
    const due = [...gateways].filter((gateway) => this.#choice(this.#state.index, gateway));
    if (due.length === 0) return [];
    const notices: Notice[] = [];
    await this.#state.write((draft) => {
      notices.length = 0;
      for (const { kind, id } of due) {
        const gateway: Outside | undefined = draft.index.get(kind, id);
        const chosen = gateway && this.#choice(draft.index, gateway);
        if (!gateway || !chosen) continue;
        const former = draft.index.bindingOf(gateway.port)?.active;
        activatePort(draft, chosen, gateway.port);
        notices.push({ level: 'warning', kind, id, text: this.#story(gateway, chosen, former) });
      }
    });
    return notices;
  }

  /** The host that should be active and is not. */
  #choice(index: ModelIndex, gateway: Outside): string | undefined {
    const binding = index.bindingOf(gateway.port);
    if (!binding || !gateway.adminUp) return undefined;
    const places = placesOf(index, gateway);
    const chosen = chooseHost(
      { ...places, isHeardByOne: gateway.kind === 'vtepBinding' },
      binding,
      (host) =>
        this.#runtime.isGivenUp(host, places.hosts) ? 'down' : this.#stateAt(gateway, host, binding, places.hosts),
      (host) => isDrained(index, host),
    );
    if (chosen === undefined || chosen === binding.active) return undefined;
    const { active } = binding;
    const isAway = active === undefined || this.#runtime.isGivenUp(active, places.hosts);
    const worksThere =
      !isAway && !isDrained(index, active) && this.#stateAt(gateway, active, binding, places.hosts) === 'up';
    return worksThere && !this.#runtime.isSettled(chosen, places.hosts) ? undefined : chosen;
  }

  #stateAt({ kind, id }: Outside, host: string, { active }: Binding, places: readonly string[]): AttachmentState {
    const runtime = this.#runtime.host(host);
    return stateAt(kind, host === active, {
      isAlive: runtime?.isAlive,
      told: runtime?.attachments.get(id)?.state,
      isNew: this.#runtime.isYoung || !this.#runtime.isSettled(host, places),
    });
  }

  #story(gateway: Outside, chosen: string, former: string | undefined): string {
    const { index } = this.#state;
    const nameOf = (host: string): string => index.get('host', host)?.name ?? host;
    const at = former === undefined ? undefined : this.#runtime.host(former);
    const isGivenUp = former !== undefined && this.#runtime.isGivenUp(former, placesOf(index, gateway).hosts);
    const state = at?.attachments.get(gateway.id)?.state ?? 'not attached';
    const why = isGivenUp
      ? 'it does not answer'
      : !at?.isAlive
        ? 'its agent is silent'
        : state === 'up' && isDrained(index, former!)
          ? 'it is drained'
          : state;
    const before = former === undefined ? '' : `, no longer ${nameOf(former)} (${why})`;
    return `${describe(index, gateway)}: ${nameOf(chosen)} forwards now${before}`;
  }
}

export type AttachmentState = 'up' | 'silent' | 'down' | 'loop';

/**
 * What an attachment counts as on a host that other places have not lost. `isAlive`: its agent is heard (undefined: not since the server
 * started); `told`: what it says; `isNew`: it is only coming back to the server, or the server to it, and traffic is not moved for that.
 */
export function stateAt(
  kind: Outside['kind'],
  isActive: boolean,
  agent: {
    readonly isAlive: boolean | undefined;
    readonly told: AttachmentState | undefined;
    readonly isNew: boolean;
  },
): AttachmentState {
  if (agent.isAlive && agent.told) return agent.told;
  if (!isActive) return 'down';
  // Its flows go on: a second place that forwards would close a circle through the VLAN. A VTEP sends to the one that it was told.
  if (agent.isAlive === false) return kind === 'l2Gateway' ? 'up' : 'down';
  return agent.isNew ? 'up' : 'down';
}

function isDrained(index: ModelIndex, host: string): boolean {
  return index.get('host', host)?.drain === true;
}

/**
 * Of the hosts with a claim the best, in the order of places; what is active stays where nothing better is to be had. A drained
 * host comes behind others that are as well as it is: who only hears nothing may forward nothing. `isHeardByOne`: what is outside
 * reaches the active host alone, as it does behind a VTEP. A loop that it has cut would begin anew at another one, until that one hears of it.
 */
export function chooseHost(
  {
    hosts,
    failBack,
    isHeardByOne,
  }: { readonly hosts: readonly string[]; readonly failBack: boolean; readonly isHeardByOne: boolean },
  { active, claims }: Pick<Binding, 'active' | 'claims'>,
  stateAt: (host: string) => AttachmentState,
  isDrainedAt: (host: string) => boolean,
): string | undefined {
  const claimed = hosts.filter((host) => claims.some((claim) => claim.host === host));
  if (isHeardByOne && active !== undefined && claimed.includes(active) && stateAt(active) === 'loop') return active;
  for (const wanted of ['up', 'silent'] as const) {
    const well = claimed.filter((host) => stateAt(host) === wanted);
    if (well.length === 0) continue;
    const staying = well.filter((host) => !isDrainedAt(host));
    const fit = staying.length > 0 ? staying : well;
    const staysHere = active !== undefined && fit.includes(active) && (wanted === 'silent' || !failBack);
    return staysHere ? active : fit[0];
  }
  return active ?? claimed[0];
}
