import { isMulticastMac, parseMac } from '../../base/addresses.ts';
import type { LogicalPort, Vtep, VtepBinding } from '../../model/objects.ts';
import type { ReportedVtep } from '../../server/protocol.ts';
import type { AttachmentLinkState, Effect, ScopeChange } from '../events.ts';
import type { Ground } from '../ground.ts';
import { LEARNED_OUTSIDE, type Learning, reported } from '../learning.ts';
import type { VtepPlan, VtepState, VtepStates } from './plan.ts';
import { SwitchMacs } from './switch-macs.ts';

/** The server says every 5 s that it is there, and takes for dead from whom it hears nothing for 10 s: then another host may be active. */
const CURRENT_MS = 8_000;

/** A binding of a VTEP that this host talks to. */
interface Bound {
  readonly vtep: string;
  readonly binding: VtepBinding;
  readonly isActive: boolean;
  /** MACs that the VTEP says are behind it. */
  readonly local: Set<string>;
  /** The port, once it is in the scope: its MACs are told the link then. */
  port: Pick<LogicalPort, 'id' | 'switch'> | undefined;
  /** `<switch>/<VLAN>`: what ids of learned MACs behind it begin with. */
  readonly at: string | undefined;
  /** The way to the database that says what is behind it. */
  readonly way: string;
}

/** What this host has to do with VTEPs: what their databases should say, and what those say of MACs (docs/design/hardware-vteps.md). */
export class Vteps {
  readonly #ground: Ground;
  readonly #learning: Learning;
  readonly #macs: SwitchMacs;
  readonly #bound = new Map<string, Bound>();
  #names = new Map<string, string>();
  /** Of the bindings, and of their ports. */
  #ports = new Set<string>();
  #switches = new Set<string>();
  #states: VtepStates = { vteps: new Map(), bindings: new Map() };
  /** What the server was told, by VTEP. */
  readonly #told = new Map<string, ReportedVtep>();
  /** MACs that are nowhere else any more: where a VTEP has them, they are learned again. */
  readonly #freed = new Map<string, Set<string>>();
  /** The server's last word is known. */
  #isCurrent = false;
  /** When that was so. */
  #heardMs = 0;
  #planned = '';

  constructor(ground: Ground, learning: Learning) {
    this.#ground = ground;
    this.#learning = learning;
    this.#macs = new SwitchMacs(ground.scope);
  }

  serverLost(nowMs: number): Effect[] {
    this.#isCurrent = false;
    return this.#planned === '' ? [] : this.#plan(nowMs);
  }

  /** Nothing was missed. */
  serverCurrent(nowMs: number): Effect[] {
    this.#heardMs = nowMs;
    if (this.#isCurrent || !this.#ground.serverConnected) return [];
    this.#isCurrent = true;
    return this.#planned === '' ? [] : this.#plan(nowMs);
  }

  scopeChanged(changes: readonly ScopeChange[], nowMs: number): Effect[] {
    const isConcerned = changes.some(
      ({ record: { kind, id } }) =>
        kind === 'vtep' ||
        kind === 'vtepBinding' ||
        (kind === 'host' && id === this.#ground.host) ||
        this.#isOwn(kind, id),
    );
    const effects = this.macsChanged(changes);
    if (!isConcerned) return effects;
    const before = new Map(this.#bound);
    effects.push(...this.#plan(nowMs));
    for (const [id, bound] of this.#bound) {
      const former = before.get(id);
      const isElsewhere = bound.at !== former?.at || bound.way !== former?.way;
      if (bound.port && isElsewhere)
        effects.push(this.#tellMacs(bound, this.#macs.elsewhere(bound.port, this.#vlan(bound.port)), true));
      if (bound.isActive && (isElsewhere || !former?.isActive)) effects.push(...this.#learn(bound, bound.local, nowMs));
    }
    return effects;
  }

  /** MACs of switches came, went or moved: the scope holds it already. */
  macsChanged(changes: readonly ScopeChange[]): Effect[] {
    const touched = this.#macs.changed(changes);
    if (touched.size === 0) return [];
    return [...this.#bound.values()].flatMap((bound) => {
      const macs = bound.port && touched.get(bound.port.switch);
      if (!macs) return [];
      const freed = [...macs].filter((mac) => bound.local.has(mac));
      if (freed.length > 0)
        this.#freed.set(bound.binding.id, new Set([...(this.#freed.get(bound.binding.id) ?? []), ...freed]));
      return [this.#tellMacs(bound, macs, false)];
    });
  }

  tick(nowMs: number): Effect[] {
    const effects: Effect[] = [];
    if (this.#isCurrent && nowMs - this.#heardMs > CURRENT_MS) effects.push(...this.serverLost(nowMs));
    for (const [id, macs] of this.#freed) {
      const bound = this.#bound.get(id);
      if (bound?.isActive)
        effects.push(
          ...this.#learn(
            bound,
            [...macs].filter((mac) => bound.local.has(mac)),
            nowMs,
          ),
        );
    }
    this.#freed.clear();
    return effects;
  }

  /** A port of ours, its binding to hosts, or its switch. */
  #isOwn(kind: ScopeChange['record']['kind'], id: string): boolean {
    if (kind === 'switch') return this.#switches.has(id);
    return (kind === 'port' || kind === 'binding') && this.#ports.has(id);
  }

  #letGo({ at, local }: Bound, nowMs: number): void {
    for (const mac of at === undefined ? [] : local) this.#learning.keep(`${at}/${mac}`, false, nowMs);
  }

  #plan(nowMs: number): Effect[] {
    const { scope, host } = this.#ground;
    if (host === undefined) return [];
    const plans: VtepPlan[] = [];
    const former = new Map(this.#bound);
    this.#bound.clear();
    this.#names = new Map();
    const byVtep = Map.groupBy(scope.all('vtepBinding'), (binding) => binding.vtep);
    const switches = new Set<string>();
    this.#switches = switches;
    this.#ports = new Set();
    for (const vtep of scope.all('vtep')) {
      const place = vtep.places.find((each) => each.host === host);
      const ownAddress = place?.address ?? scope.host(host)?.tunnelAddress;
      if (!place || ownAddress === undefined) continue;
      this.#names.set(vtep.id, vtep.name);
      const bindings = (byVtep.get(vtep.id) ?? []).filter(({ adminUp }) => adminUp);
      for (const binding of bindings) {
        const port = scope.port(binding.port);
        this.#ports.add(binding.port);
        if (port) switches.add(port.switch);
        const isActive = scope.binding(binding.port)?.active === host;
        const at = port && `${port.switch}/${this.#vlan(port)}`;
        const way = JSON.stringify([vtep.management, vtep.ca, vtep.certificate]);
        const before = former.get(binding.id);
        // What was behind it is known by other names now, or another database has to say it anew.
        if (before && (before.at !== at || before.way !== way)) this.#letGo(before, nowMs);
        const local = before?.way === way ? before.local : new Set<string>();
        this.#bound.set(binding.id, { vtep: vtep.id, binding, isActive, local, port, at, way });
      }
      plans.push(planOf(vtep, ownAddress, bindings, (id) => this.#bound.get(id)!.isActive));
    }
    this.#macs.follow(switches);
    for (const id of this.#told.keys()) if (!this.#names.has(id)) this.#told.delete(id);
    const text = JSON.stringify([plans, this.#isCurrent]);
    if (text === this.#planned || (plans.length === 0 && this.#planned === '')) return [];
    this.#planned = text;
    return [{ kind: 'serveVteps', plans, isCurrent: this.#isCurrent }];
  }

  #vlan({ id }: Pick<LogicalPort, 'id'>): number {
    const { scope } = this.#ground;
    const port = scope.port(id);
    const vlan = port && scope.switchOf(port)?.vlanAware ? port.vlan : undefined;
    return vlan && 'access' in vlan ? vlan.access : 0;
  }

  #tellMacs({ vtep, binding, port }: Bound, macs: Iterable<string>, isAll: boolean): Effect {
    const put: string[] = [];
    const gone: string[] = [];
    for (const mac of macs) (this.#macs.isElsewhere(port!, this.#vlan(port!), mac) ? put : gone).push(mac);
    return { kind: 'vtepMacs', vtep, binding: binding.id, put, gone, isAll };
  }

  /** What the databases say, all of them. */
  told(states: VtepStates, nowMs: number): Effect[] {
    this.#states = states;
    const effects: Effect[] = [];
    let isNews = false;
    for (const [id, state] of states.vteps) {
      const before = this.#told.get(id);
      const now = reportOf(id, state);
      if (JSON.stringify(now) === JSON.stringify(before) || !this.#names.has(id)) continue;
      this.#told.set(id, now);
      isNews = true;
      if (now.state === before?.state && now.problem === before.problem) continue;
      if (before === undefined && now.problem === undefined) continue;
      const name = this.#names.get(id)!;
      const text = `VTEP ${name}: ${now.problem ?? 'all is well again'}`;
      effects.push(
        ...this.#ground.report([
          { type: 'event', atMs: nowMs, level: now.problem ? 'warning' : 'info', about: { kind: 'vtep', id }, text },
        ]),
        { kind: 'log', level: now.problem ? 'warn' : 'info', message: text, fields: { vtep: id } },
      );
    }
    return isNews ? [...this.#ground.report([{ type: 'vteps', vteps: this.all() }]), ...effects] : effects;
  }

  /** For a new connection to the server. */
  all(): readonly ReportedVtep[] {
    return [...this.#told.values()];
  }

  /** Where the tunnels of the VTEPs end, as far as that is known. */
  remotes(): string[] {
    return [...this.#states.vteps.values()].flatMap((state) =>
      state.state === 'connected' ? [state.tunnelAddress] : [],
    );
  }
  remoteOf(vtep: string): string | undefined {
    const state = this.#states.vteps.get(vtep);
    if (state?.state === 'connected') return state.tunnelAddress;
    return this.#ground.scope.get('vtep', vtep)?.tunnelAddress;
  }

  /** Undefined: nothing is known yet. */
  linkOf({ id, vtep }: VtepBinding): (AttachmentLinkState & { readonly problem?: string }) | undefined {
    const state = this.#states.vteps.get(vtep);
    const name = `VTEP ${this.#names.get(vtep) ?? vtep}`;
    if (!state) return undefined;
    if (state.state !== 'connected') return { isUp: false, problem: `${name}: ${state.problem}` };
    const binding = this.#states.bindings.get(id);
    if (!binding) return undefined;
    const problem = [binding.problem, state.problem].filter((each) => each !== undefined).join('; ');
    if (!binding.isUsable) return { isUp: false, problem: `${name}: ${problem}` };
    return problem === '' ? { isUp: true } : { isUp: true, problem: `${name}: ${problem}` };
  }

  /** MACs that a VTEP has behind a binding from now on, or no more. */
  macsTold(id: string, seen: readonly string[], gone: readonly string[], nowMs: number): Effect[] {
    const bound = this.#bound.get(id);
    if (!bound) return [];
    for (const mac of seen) bound.local.add(mac);
    for (const mac of gone) {
      bound.local.delete(mac);
      if (bound.port) this.#learning.keep(`${bound.port.switch}/${this.#vlan(bound.port)}/${mac}`, false, nowMs);
    }
    return bound.isActive ? this.#learn(bound, seen, nowMs) : [];
  }

  /**
   * What the VTEP knows needs no frame to be learned, and is not forgotten while it knows it. That a MAC moved only frames tell: what a
   * database says of it may have been true some seconds ago.
   */
  #learn({ port }: Bound, macs: Iterable<string>, nowMs: number): Effect[] {
    const { host, scope } = this.#ground;
    if (!port || host === undefined) return [];
    const vlan = this.#vlan(port);
    const effects: Effect[] = [];
    for (const text of macs) {
      const mac = parseMac(text);
      if (mac === undefined || mac === 0 || isMulticastMac(mac) || this.#macs.isHeld(port.switch, text)) continue;
      const id = `${port.switch}/${vlan}/${text}`;
      const known = scope.get('learned', id);
      if (known && known.port !== port.id) continue;
      const record = this.#learning.learn(port.switch, port.id, host, vlan, text, nowMs, LEARNED_OUTSIDE);
      this.#learning.keep(id, true, nowMs);
      if (record)
        effects.push(
          ...this.#ground.report([{ type: 'learned', ...reported(record) }]),
          ...this.#ground.overlay(record),
        );
    }
    return effects;
  }
}

function planOf(
  vtep: Vtep,
  ownAddress: string,
  bindings: readonly VtepBinding[],
  isActive: (binding: string) => boolean,
): VtepPlan {
  const { ca, certificate, privateKey } = vtep;
  return {
    ...{ vtep: vtep.id, name: vtep.name, management: vtep.management, ownAddress },
    ...(vtep.physicalSwitch === undefined ? {} : { physicalSwitch: vtep.physicalSwitch }),
    ...(vtep.tunnelAddress === undefined ? {} : { tunnelAddress: vtep.tunnelAddress }),
    ...(ca === undefined
      ? {}
      : {
          tls: {
            ca,
            ...(certificate === undefined ? {} : { certificate }),
            ...(privateKey === undefined ? {} : { privateKey }),
          },
        }),
    bindings: bindings.map(({ id, name, vni, physicalPorts }) => ({
      ...{ binding: id, vni, physicalPorts, description: `Weft: binding ${name}`, isActive: isActive(id) },
    })),
  };
}

function reportOf(vtep: string, state: VtepState): ReportedVtep {
  const { problem } = state;
  return {
    vtep,
    state: state.state,
    ...(state.state === 'connected' ? { tunnelAddress: state.tunnelAddress } : {}),
    ...(problem === undefined ? {} : { problem }),
  };
}
