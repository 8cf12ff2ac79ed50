import type { Clock } from '../base/clock.ts';
import { describe } from '../model/describe.ts';
import type { ModelIndex } from '../model/model-index.ts';
import type { Binding, Outside } from '../model/objects.ts';
import { placesOf } from '../model/vteps.ts';
import { activatePort, type Notice } from './bindings.ts';
import type { DesiredState } from './desired-state.ts';
import { FailBacks } from './fail-backs.ts';
import type { StatusProblem } from './present.ts';
import type { Runtime } from './runtime.ts';

/** Of which host the attachment of an L2 gateway or VTEP binding forwards: the active claim of its port (docs/design/l2-gateways.md, §2). */
export class L2Gateways {
  readonly #state: DesiredState;
  readonly #runtime: Runtime;
  readonly #clock: Clock;
  readonly #failBacks = new FailBacks();

  constructor(state: DesiredState, runtime: Runtime, clock: Clock) {
    this.#state = state;
    this.#runtime = runtime;
    this.#clock = clock;
    state.onCommit(({ changes }) => {
      for (const { id, after } of changes) if (!after) this.#failBacks.forget(id);
    });
  }

  /** Looks at these again; what was decided is written when this returns. Returns what people should hear. */
  async judge(gateways: Iterable<Outside>): Promise<readonly Notice[]> {
    const due: Outside[] = [];
    const withheld: Notice[] = [];
    for (const gateway of gateways) {
      if (this.#choice(this.#state.index, gateway)) due.push(gateway);
      else withheld.push(...this.#withheldNews(gateway));
    }
    if (due.length === 0) return withheld;
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
    return [...withheld, ...notices];
  }

  /** Those that may go back to a place now that had to be well for longer. */
  due(): readonly Outside[] {
    const { index } = this.#state;
    return this.#failBacks
      .due(this.#clock.monotonicMs())
      .flatMap((id) => index.get('l2Gateway', id) ?? index.get('vtepBinding', id) ?? []);
  }

  /** Gateways that stay where they are because a better place comes and goes. */
  problems(): readonly StatusProblem[] {
    return this.due().flatMap((gateway) => {
      const { kind, id, name } = gateway;
      const host = this.#withheld(gateway);
      if (host === undefined) return [];
      const what = `${kind === 'l2Gateway' ? 'L2 gateway' : 'VTEP binding'} ${name} at ${this.#nameOf(host)}`;
      return [{ about: { kind, id, name }, text: `${what}: ${this.#patience(gateway, host)}` }];
    });
  }

  /** The host that should be active and is not. */
  #choice(index: ModelIndex, gateway: Outside): string | undefined {
    const binding = index.bindingOf(gateway.port);
    if (!gateway.adminUp) this.#failBacks.forget(gateway.id);
    if (!binding || !gateway.adminUp) return undefined;
    const places = placesOf(index, gateway);
    const nowMs = this.#clock.monotonicMs();
    for (const host of places.hosts)
      this.#failBacks.look(gateway.id, host, this.#seenAt(gateway, host, binding, places.hosts) === 'up', nowMs);
    const chosen = this.#best(index, gateway, binding, (host) => this.#failBacks.leftMs(gateway.id, host, nowMs) > 0);
    if (chosen === undefined || chosen === binding.active) return undefined;
    const { active } = binding;
    const isAway = active === undefined || this.#runtime.isGivenUp(active, places.hosts);
    const worksThere =
      !isAway && !isDrained(index, active) && this.#stateAt(gateway, active, binding, places.hosts) === 'up';
    return worksThere && !this.#runtime.isSettled(chosen, places.hosts) ? undefined : chosen;
  }

  #best(
    index: ModelIndex,
    gateway: Outside,
    binding: Binding,
    isHeldAt: (host: string) => boolean,
  ): string | undefined {
    const places = placesOf(index, gateway);
    return chooseHost(
      { ...places, isHeardByOne: gateway.kind === 'vtepBinding' },
      binding,
      (host) => this.#seenAt(gateway, host, binding, places.hosts),
      (host) => isDrained(index, host),
      isHeldAt,
    );
  }

  /** The place that would be gone back to, had it not come and gone. */
  #withheld(gateway: Outside): string | undefined {
    const { index } = this.#state;
    const binding = index.bindingOf(gateway.port);
    if (!binding || !gateway.adminUp) return undefined;
    const nowMs = this.#clock.monotonicMs();
    const isHeldAt = (host: string): boolean => this.#failBacks.leftMs(gateway.id, host, nowMs) > 0;
    const host = this.#best(index, gateway, binding, () => false);
    return host !== undefined && host !== binding.active && isHeldAt(host) ? host : undefined;
  }

  #withheldNews(gateway: Outside): readonly Notice[] {
    const { kind, id } = gateway;
    const host = this.#withheld(gateway);
    if (host === undefined || !this.#failBacks.isNews(id, host)) return [];
    const text = `${describe(this.#state.index, gateway)} at ${this.#nameOf(host)}: ${this.#patience(gateway, host)}`;
    return [{ level: 'warning', kind, id, text }];
  }

  #patience({ id, port }: Outside, host: string): string {
    const stays = this.#nameOf(this.#state.index.bindingOf(port)?.active ?? host);
    const [holdMs, leftMs] = [
      this.#failBacks.holdMs(id, host),
      this.#failBacks.leftMs(id, host, this.#clock.monotonicMs()),
    ];
    const times = `${Math.round(holdMs / 1000)} s (${Math.ceil(leftMs / 1000)} s to go)`;
    return `comes and goes: ${stays} forwards until it has been well for ${times}; look at its link`;
  }

  #nameOf(host: string): string {
    return this.#state.index.get('host', host)?.name ?? host;
  }

  #seenAt(gateway: Outside, host: string, binding: Binding, places: readonly string[]): AttachmentState {
    return this.#runtime.isGivenUp(host, places) ? 'down' : this.#stateAt(gateway, host, binding, places);
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
    const before = former === undefined ? '' : `, no longer ${this.#nameOf(former)} (${why})`;
    return `${describe(index, gateway)}: ${this.#nameOf(chosen)} forwards now${before}`;
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
 * `isHeldAt`: it failed shortly before, and others that are as well come first.
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
  isHeldAt: (host: string) => boolean,
): string | undefined {
  const claimed = hosts.filter((host) => claims.some((claim) => claim.host === host));
  if (isHeardByOne && active !== undefined && claimed.includes(active) && stateAt(active) === 'loop') return active;
  for (const wanted of ['up', 'silent'] as const) {
    const well = claimed.filter((host) => stateAt(host) === wanted);
    if (well.length === 0) continue;
    const staying = well.filter((host) => !isDrainedAt(host));
    const fit = staying.length > 0 ? staying : well;
    const staysHere = active !== undefined && fit.includes(active) && (wanted === 'silent' || !failBack);
    return staysHere ? active : (fit.find((host) => host === active || !isHeldAt(host)) ?? fit[0]);
  }
  return active ?? claimed[0];
}
