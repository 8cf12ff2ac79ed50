import { withReferenceNames } from '../model/describe.ts';
import type { ModelIndex } from '../model/model-index.ts';
import type {
  AnyObject,
  BgpPeer,
  FloatingAddress,
  Host,
  LoadBalancer,
  LogicalPort,
  Outside,
  Router,
  Vtep,
} from '../model/objects.ts';
import { portCount } from '../model/port-blocks.ts';
import { withoutSecrets } from '../model/secrets.ts';
import { type MemberState, memberStates } from '../model/serving.ts';
import { placesOf } from '../model/vteps.ts';
import { type KeptClientStatus, keptClientsOf } from './kept-clients.ts';
import { type NextHopStatus, nextHopsOf } from './next-hops.ts';
import type { HostHealth, PortState, ReportedAttachment, ReportedSession, ReportedVtep } from './protocol.ts';
import type { Runtime } from './runtime.ts';

/** Objects as answers show them: with what agents report as `status`, and references as names where asked. */

export interface HostStatus {
  /** `unknown`: not heard of since the server started. */
  readonly state: 'alive' | 'dead' | 'unknown';
  readonly lastSeenMs?: number;
  /** The host's switch is as the model was at this revision. */
  readonly applied?: number;
  /** How many revisions the host is behind; absent when it is not there. */
  readonly lag?: number;
  readonly health?: HostHealth;
  readonly problems: readonly string[];
}

/** What is not as it should be, as `GET /v1/status` says it. */
export interface StatusProblem {
  readonly about: { readonly kind: string; readonly id: string; readonly name: string };
  readonly text: string;
}

export interface PortStatus {
  /**
   * `unbound`: no host has the interface; `host-down`: the host that has it is dead or unknown; otherwise what the
   * active host's agent says.
   */
  readonly state: PortState['state'] | 'unbound' | 'host-down';
  /** The active host's name. */
  readonly host?: string;
  readonly interface?: string;
  readonly claims: readonly { readonly host: string; readonly interface: string; readonly sinceMs: number }[];
  readonly problems: readonly string[];
}

export interface LoadBalancerStatus {
  /** How many of its members serve: `2/3`. */
  readonly healthy: string;
  readonly members: readonly {
    /** The port's. */
    readonly name: string;
    readonly state: MemberState;
  }[];
  /** Where it has `stickyS`: how many clients keep another member than that of their slot, and some of them. */
  readonly keptClients?: number;
  readonly kept?: readonly KeptClientStatus[];
}

export interface LeaseStatus {
  readonly address: string;
  /** The host's name. */
  readonly host: string;
  readonly ports: number;
}

export interface RouterStatus {
  readonly leases: readonly LeaseStatus[];
  readonly nextHops?: readonly NextHopStatus[];
}

export interface SessionStatus {
  /** Of the session that is furthest; `none`: no host runs it. */
  readonly state: string;
  readonly accepted: number;
  readonly sent: number;
  readonly sessions: readonly (Omit<ReportedSession, 'peer'> & { readonly host: string })[];
}

/** Of an L2 gateway or a VTEP binding. */
export interface OutsideStatus {
  /** The host that forwards. */
  readonly active?: string;
  /** Of its attachment. `unknown`: its agent has not said. */
  readonly state: ReportedAttachment['state'] | 'unknown';
  readonly places: readonly {
    readonly host: string;
    readonly state: ReportedAttachment['state'] | 'unknown';
    readonly problem?: string;
  }[];
}

export interface VtepStatus {
  /** `connected` where one place is; `unknown`: no agent has said. */
  readonly state: ReportedVtep['state'] | 'unknown';
  readonly tunnelAddress?: string;
  readonly places: readonly {
    readonly host: string;
    readonly state: ReportedVtep['state'] | 'unknown';
    readonly problem?: string;
  }[];
}

export class Presenter {
  readonly #index: ModelIndex;
  readonly #runtime: Runtime;
  readonly #position: { readonly revision: () => number; readonly applied: (hostId: string) => number };

  constructor(
    index: ModelIndex,
    runtime: Runtime,
    position: { readonly revision: () => number; readonly applied: (hostId: string) => number },
  ) {
    this.#index = index;
    this.#runtime = runtime;
    this.#position = position;
  }

  show(object: AnyObject, withNames: boolean): Record<string, unknown> {
    const open = withoutSecrets(object);
    const shown: Record<string, unknown> = { ...(withNames ? withReferenceNames(this.#index, open) : open) };
    if (withNames && object.tenant !== undefined)
      shown.tenant = this.#index.get('tenant', object.tenant)?.name ?? object.tenant;
    const status = this.statusOf(object);
    if (status) shown.status = status;
    return shown;
  }

  statusOf(object: AnyObject): object | undefined {
    switch (object.kind) {
      case 'host':
        return this.hostStatus(object);
      case 'port':
        return this.portStatus(object);
      case 'rule':
        return this.#runtime.ruleTotals(object.id);
      case 'switch':
        return { ports: this.#index.portCountOfSwitch(object.id) };
      case 'router':
        return this.routerStatus(object);
      case 'floatingAddress':
        return this.floatingAddressStatus(object);
      case 'loadBalancer':
        return this.loadBalancerStatus(object);
      case 'securityGroup':
        return { ports: this.#index.portCountOfGroup(object.id) };
      case 'bgpPeer':
        return this.sessionStatus(object);
      case 'l2Gateway':
      case 'vtepBinding':
        return this.outsideStatus(object);
      case 'vtep':
        return this.vtepStatus(object);
      case 'tenant':
      case 'tunnelZone':
      case 'chain':
      case 'addressSet':
      case 'routerPort':
      case 'mirror':
        return undefined;
    }
  }

  /** Ports of SNAT addresses that hosts have, and whether next hops answer that are probed. */
  routerStatus(router: Router): RouterStatus {
    const leases = [...this.#index.leasesOfRouter(router.id)].map(({ address, host, blocks }) => ({
      address,
      host: this.#hostName(host),
      ports: portCount(blocks),
    }));
    const nextHops = nextHopsOf(this.#index, router, this.deadHosts());
    return { leases, ...(nextHops.length === 0 ? {} : { nextHops }) };
  }

  /** A session runs on every gateway of its uplink: on one, but while it moves. */
  sessionStatus({ id }: BgpPeer): SessionStatus {
    const sessions = this.#runtime.sessionsOf(id).map(({ host, session: { peer: _, ...session } }) => ({
      host: this.#hostName(host),
      ...session,
      ...(this.#runtime.host(host)?.isAlive ? {} : { problem: 'its agent is silent: this is the last that it said' }),
    }));
    const best = sessions.find(({ state }) => state === 'established') ?? sessions[0];
    return { state: best?.state ?? 'none', accepted: best?.accepted ?? 0, sent: best?.sent ?? 0, sessions };
  }

  outsideStatus(outside: Outside): OutsideStatus {
    const { id, port } = outside;
    const { hosts } = placesOf(this.#index, outside);
    const active = this.#index.bindingOf(port)?.active;
    const shown = hosts.map((host): OutsideStatus['places'][number] => {
      const runtime = this.#runtime.host(host);
      const attachment = runtime?.isAlive ? runtime.attachments.get(id) : undefined;
      const { state = 'unknown', problem } = attachment ?? {};
      return { host: this.#hostName(host), state, ...(problem === undefined ? {} : { problem }) };
    });
    const at = active === undefined ? -1 : hosts.indexOf(active);
    return {
      ...(active === undefined ? {} : { active: this.#hostName(active) }),
      state: shown[at]?.state ?? 'unknown',
      places: shown,
    };
  }

  vtepStatus({ id, places }: Vtep): VtepStatus {
    const told = places.map(({ host }) => {
      const runtime = this.#runtime.host(host);
      return { host, said: runtime?.isAlive ? runtime.vteps.get(id) : undefined };
    });
    const best = told.find(({ said }) => said?.state === 'connected') ?? told.find(({ said }) => said);
    const tunnelAddress = best?.said?.tunnelAddress;
    return {
      state: best?.said?.state ?? 'unknown',
      ...(tunnelAddress === undefined ? {} : { tunnelAddress }),
      places: told.map(({ host, said }) => ({
        host: this.#hostName(host),
        state: said?.state ?? 'unknown',
        ...(said?.problem === undefined ? {} : { problem: said.problem }),
      })),
    };
  }

  floatingAddressStatus(address: FloatingAddress): Pick<PortStatus, 'state' | 'host'> {
    const port = this.#index.get('port', address.port);
    const { state = 'unbound', host } = port ? this.portStatus(port) : {};
    return { state, ...(host === undefined ? {} : { host }) };
  }

  loadBalancerStatus(balancer: LoadBalancer): LoadBalancerStatus {
    const dead = this.deadHosts();
    const shown = [...memberStates(this.#index, balancer, (host) => dead.has(host))].map(([port, state]) => {
      return { name: this.#index.get('port', port)?.name ?? port, state };
    });
    return {
      healthy: `${shown.filter(({ state }) => state === 'serving').length}/${shown.length}`,
      members: shown,
      ...keptClientsOf(this.#index, balancer, (host) => dead.has(host)),
    };
  }

  /** Hosts that answer none of their peers: with an agent that is silent alone a host is not dead. */
  deadHosts(): ReadonlySet<string> {
    return this.#runtime.givenUp();
  }

  #hostName(id: string): string {
    return this.#index.get('host', id)?.name ?? id;
  }

  hostStatus(host: Host): HostStatus {
    const runtime = this.#runtime.host(host.id);
    if (!runtime) return { state: 'unknown', problems: [] };
    const applied = this.#position.applied(host.id);
    const isAlive = runtime.isAlive;
    return {
      state: isAlive ? 'alive' : 'dead',
      lastSeenMs: runtime.lastSeenMs,
      applied,
      ...(isAlive ? { lag: this.#position.revision() - applied } : {}),
      ...(runtime.health ? { health: runtime.health } : {}),
      problems: isAlive ? (runtime.health?.problems ?? []) : [`the agent ${silenceText(this.#runtime, host.id)}`],
    };
  }

  portStatus(port: LogicalPort): PortStatus {
    const binding = this.#index.bindingOf(port.id);
    const nameOf = (id: string): string => this.#hostName(id);
    const claims = (binding?.claims ?? []).map((claim) => ({
      host: nameOf(claim.host),
      interface: claim.interface,
      sinceMs: claim.sinceMs,
    }));
    const problems: string[] = [];
    // Of an outside every place has one.
    const isMany = claims.length > 1 && this.#index.outsideOfPort(port.id) === undefined;
    if (isMany && binding?.claims.every((c) => c.host === binding.active || c.host !== port.host)) {
      const names = claims.map((claim) => claim.host).join(' and ');
      problems.push(`${names} have an interface with this port's id: one is a copy, or a move that was not declared`);
    }
    const active = binding?.claims.find((claim) => claim.host === binding.active);
    if (!active) return { state: 'unbound', claims, problems };
    const host = this.#runtime.host(active.host);
    const reported = host?.ports.get(port.id);
    if (reported?.problem !== undefined) problems.push(reported.problem);
    const state = host?.isAlive ? (reported?.state ?? 'pending') : 'host-down';
    return { state, host: nameOf(active.host), interface: active.interface, claims, problems };
  }
}

/** What is to be said of an agent that is not heard. */
export function silenceText(runtime: Runtime, hostId: string): string {
  return runtime.isGivenUp(hostId)
    ? 'is silent, and other hosts get no answer either: the host is off, or cut off'
    : 'is silent; traffic goes on as it was';
}
