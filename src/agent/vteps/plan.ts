/** What the core of the agent and the link to VTEPs tell each other (docs/design/hardware-vteps.md). */

/** A VTEP that this host talks to. */
export interface VtepPlan {
  readonly vtep: string;
  readonly name: string;
  /** `tcp:HOST:PORT` or `ssl:HOST:PORT`. */
  readonly management: string;
  readonly physicalSwitch?: string;
  /** Where its tunnels end, where its database is not to be asked. */
  readonly tunnelAddress?: string;
  /** PEM texts. */
  readonly tls?: { readonly ca: string; readonly certificate?: string; readonly privateKey?: string };
  /** Where it sends tunnel packets to this host. */
  readonly ownAddress: string;
  readonly bindings: readonly VtepBindingPlan[];
}

export interface VtepBindingPlan {
  readonly binding: string;
  readonly vni: number;
  readonly physicalPorts: readonly { readonly port: string; readonly vlan: number }[];
  /** For people: what the logical switch is. */
  readonly description: string;
  /** This host forwards, and writes what concerns the binding. */
  readonly isActive: boolean;
}

export type VtepState =
  | { readonly state: 'connected'; readonly tunnelAddress: string; readonly problem?: string }
  | { readonly state: 'unreachable' | 'wrong'; readonly problem: string };

/** Of a binding: `isUsable` where something of it is joined, or would be by the active host. */
export interface VtepBindingState {
  readonly isUsable: boolean;
  readonly problem?: string;
}

/** All VTEPs that were asked for, as far as they are known. */
export interface VtepStates {
  readonly vteps: ReadonlyMap<string, VtepState>;
  readonly bindings: ReadonlyMap<string, VtepBindingState>;
}
