import { WeftError } from '../src/base/errors.ts';
import type { Lab } from '../src/lab/lab.ts';
import type { WorkloadInput } from '../src/lab/spec.ts';
import { AGENT_PROCESS, SERVER_PROCESS, startWeftInLab, type WeftInLab } from '../src/lab/weft.ts';
import { KINDS } from '../src/model/kinds.ts';
import type { Match } from '../src/openflow/flow.ts';
import { ETHER_TYPE } from '../src/packet/ethernet.ts';
import { IP_PROTO } from '../src/packet/ip-protocol.ts';
import type { BenchContext } from './bench.ts';
import { type Cloud, type CloudProcess, type CloudSite, cloudLab, twoHosts } from './cloud.ts';
import type { TenantPort, TenantsSize } from './tenants.ts';
import { type ApiObject, createObjects, groupObject, groupPath, portObject } from './weft-network.ts';

/** All objects of the bench, so that one request takes them away. */
const APPLY_SET = 'bench';
/** Bits of `ct_state` (ovs-fields(7)). */
const [CT_INVALID, CT_TRACKED] = [0x10, 0x20];
const WRITE_TIMEOUT_MS = 120_000;

/**
 * Starts a lab with an empty Weft in it, workloads plugged already: the server in its place, an agent on each host. They meet on a unix socket, as OVN's
 * controllers and databases do (ovn.ts): a network between them would be Open vSwitch's own here.
 */
export function startWeftCloud(context: BenchContext, workloads: readonly WorkloadInput[] = []): Promise<WeftCloud> {
  return startWeftAt(context, twoHosts(workloads));
}

/** The same on any number of hosts, with what is outside of them. */
export async function startWeftAt(context: BenchContext, site: CloudSite): Promise<WeftCloud> {
  context.progress(`starting Weft on ${site.hosts!.length} hosts`);
  const lab = await cloudLab(context, site);
  const weft = new WeftCloud(lab, await startWeftInLab(lab, { agentsReachBy: 'socket' }));
  context.defer(() => weft.stop());
  return weft;
}

export class WeftCloud implements Cloud {
  readonly name = 'Weft';
  readonly lab: Lab;
  readonly hosts: readonly string[];
  readonly installedMark = 'weft-installed';
  readonly #weft: WeftInLab;

  constructor(lab: Lab, weft: WeftInLab) {
    this.lab = lab;
    this.hosts = lab.hosts.map(({ name }) => name);
    this.#weft = weft;
  }

  async createAll(size: TenantsSize): Promise<void> {
    await this.#apply({ objects: createObjects(size), applySet: APPLY_SET });
  }

  async addPort(port: TenantPort): Promise<void> {
    // By `apply`, not by POST: so it belongs to the set that is deleted in the end.
    await this.add([portObject(port)]);
  }

  async removePort({ id }: TenantPort): Promise<void> {
    await this.#weft.client.request('DELETE', `/v1/${KINDS.port.plural}/${id}`);
  }

  /** Objects beside those of the plan. */
  async add(objects: readonly ApiObject[]): Promise<void> {
    await this.#apply({ objects, applySet: APPLY_SET });
  }

  async changeRule(tenant: number, tcpPort: number): Promise<void> {
    const { ingress } = groupObject(tenant, tcpPort);
    await this.#weft.client.request('PATCH', groupPath(tenant), { body: { ingress } });
  }

  /** Groups judge connections: by conntrack's original tuple. */
  ruleMatch(tcpPort: number): Match {
    const tracked = { value: CT_TRACKED, mask: CT_TRACKED | CT_INVALID };
    return { eth_type: ETHER_TYPE.ipv4, ct_state: tracked, ct_nw_proto: IP_PROTO.tcp, ct_tp_dst: tcpPort };
  }

  async deleteAll(): Promise<void> {
    await this.#apply({ objects: [], applySet: APPLY_SET, prune: true });
  }

  async synced(timeoutMs: number): Promise<void> {
    const query = { timeoutMs };
    const { isSynced } = await this.#weft.client.get<{ isSynced: boolean }>('/v1/sync', {
      query,
      timeoutMs: timeoutMs + 1_000,
    });
    if (!isSynced) throw new WeftError('timeout', `${this.name}: not synced in ${timeoutMs} ms`);
  }

  processes(): readonly CloudProcess[] {
    return this.lab.processes().map((process) => {
      if (process.place === SERVER_PROCESS.place) return { role: 'central', process };
      return { role: process.name === AGENT_PROCESS ? 'agent' : 'switch', process };
    });
  }

  async stopAgent(host: string): Promise<void> {
    await this.#weft.agent(host).stop();
  }

  async startAgent(host: string): Promise<void> {
    await this.#weft.agent(host).start();
  }

  async stop(): Promise<void> {
    this.#weft.client.close();
    await this.lab.down();
  }

  async #apply(body: Readonly<Record<string, unknown>>): Promise<void> {
    await this.#weft.client.post('/v1/apply', body, { timeoutMs: WRITE_TIMEOUT_MS });
  }
}
