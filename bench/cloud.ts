import type { Lab } from '../src/lab/lab.ts';
import type { ManagedProcess } from '../src/lab/managed-process.ts';
import type { LabSpecInput, WorkloadInput } from '../src/lab/spec.ts';
import type { Match } from '../src/openflow/flow.ts';
import type { BenchContext } from './bench.ts';
import { ENCAP, HOST_NAMES } from './network.ts';
import { subnetOf, type TenantPort, type TenantsSize } from './tenants.ts';

export interface CloudProcess {
  /** `central`: for all hosts; `agent`: makes a host's flows; `switch`: Open vSwitch of a host. */
  readonly role: 'central' | 'agent' | 'switch';
  readonly process: ManagedProcess;
}

/**
 * A cloud network of two hosts in a lab, of whatever make: what a bench does to one it does to the other. Every call
 * that changes something resolves when the cloud's own API has taken it; what the switches have by then is for the
 * bench to see.
 */
export interface Cloud {
  readonly name: string;
  readonly lab: Lab;
  /** The lab's hosts, in the order of `TenantPort.host`. */
  readonly hosts: readonly string[];
  /** The key in an interface's `external_ids` that becomes `true` when its flows are in the switch. */
  readonly installedMark: string;
  /** Writes a whole plan. */
  createAll(size: TenantsSize): Promise<void>;
  addPort(port: TenantPort): Promise<void>;
  /** Takes away one that `addPort` added. */
  removePort(port: TenantPort): Promise<void>;
  /** The group of a tenant lets in another TCP port from anywhere instead of the one before. */
  changeRule(tenant: number, tcpPort: number): Promise<void>;
  /** What the flows of that rule match, and no others: how the bench finds them. */
  ruleMatch(tcpPort: number): Match;
  deleteAll(): Promise<void>;
  /** Resolves when the cloud itself says that all that was written is installed everywhere. */
  synced(timeoutMs: number): Promise<void>;
  /** Every process that it needs, Open vSwitch's own included. */
  processes(): readonly CloudProcess[];
  /** Stops what makes the flows of a host, as for a new version of it; packets go on. */
  stopAgent(host: string): Promise<void>;
  startAgent(host: string): Promise<void>;
  /** Ends the cloud and its lab. */
  stop(): Promise<void>;
}

/** What of a lab is the bench's to choose. */
export type CloudSite = Pick<LabSpecInput, 'hosts' | 'workloads' | 'internet' | 'routers' | 'outside'>;

/** Two hosts, with these workloads. */
export function twoHosts(workloads: readonly WorkloadInput[]): CloudSite {
  return { hosts: HOST_NAMES.map((name) => ({ name })), workloads: [...workloads] };
}

/** A workload behind a port that is on one of them. */
export function workloadBehind({ id, name, mac, address, host, switchIndex }: TenantPort): WorkloadInput {
  return {
    ...{ name, mac, port: id, host: HOST_NAMES[host!] },
    ...{ addresses: [`${address}/24`], gateways: [subnetOf(switchIndex).gateway] },
  };
}

/** The lab of a cloud: the same for every make. */
export function cloudLab(context: BenchContext, site: CloudSite): Promise<Lab> {
  return context.lab({ ...site, encap: ENCAP, datapath: 'netdev' });
}
