import type { Lab } from '../src/lab/lab.ts';
import type { Pair } from './traffic.ts';

/**
 * The peer of Weft's datapath: two workloads on two hosts, joined by two static flows on each, over the same
 * encapsulation and in the same Open vSwitch. It has a bridge of its own, so that neither side sees the other's flows.
 *
 *   static-a ── br-static ── tunnel ══ underlay ══ tunnel ── br-static ── static-b
 */
export const STATIC_WORKLOADS = [
  { name: 'static-a', address: '10.99.0.1' },
  { name: 'static-b', address: '10.99.0.2' },
] as const;

const BRIDGE = 'br-static';
/** Matches before Weft's flow-based tunnel port, and is a key that Weft does not give out in these benches. */
const KEY = 0xff_fff0;

/** Joins the workloads of `STATIC_WORKLOADS`, of which the first is on the lab's first host and the other on the second. */
export async function joinStatically(lab: Lab, encap: string): Promise<Pair> {
  const hosts = lab.hosts.slice(0, 2);
  for (const [i, host] of hosts.entries()) {
    const ovs = lab.switchOf(host.name);
    const port = lab.workload(STATIC_WORKLOADS[i]!.name).interface;
    const remote = hosts[1 - i]!.address;
    await ovs.vsctl([
      ...['add-br', BRIDGE, '--', 'set', 'bridge', BRIDGE, `datapath_type=${ovs.datapath}`, 'fail_mode=secure', '--'],
      ...['add-port', BRIDGE, port, '--', 'set', 'interface', port, 'ofport_request=1', '--'],
      ...['add-port', BRIDGE, 'static-tunnel', '--', 'set', 'interface', 'static-tunnel', 'ofport_request=2'],
      ...[`type=${encap}`, `options:remote_ip=${remote}`, `options:key=${KEY}`],
    ]);
    await ovs.ofctl('add-flow', BRIDGE, 'in_port=1,actions=output:2');
    await ovs.ofctl('add-flow', BRIDGE, 'in_port=2,actions=output:1');
  }
  const [a, b] = STATIC_WORKLOADS;
  return { from: a.name, to: b.name, fromAddress: a.address, toAddress: b.address };
}
