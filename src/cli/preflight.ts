import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';

/** Is this host fit for an agent? Facts are gathered first and judged by functions that know no system. */
export interface Finding {
  readonly check: string;
  readonly level: 'ok' | 'warning' | 'error';
  readonly text: string;
  /** How to mend it. */
  readonly hint?: string;
}

export interface HostFacts {
  readonly nodeVersion: string;
  /** Undefined: not installed. */
  readonly ovsVersion: string | undefined;
  readonly databaseReachable: boolean;
  readonly kernelModule: 'loaded' | 'available' | 'absent';
  readonly bridge: BridgeFacts | undefined;
  readonly links: readonly LinkFacts[];
  /** UDP ports with a socket, and what the kernel's own tunnel devices take. */
  readonly udpPorts: readonly number[];
  readonly bridgeNetfilter: boolean;
  readonly hasTcpdump: boolean;
  /** The server's clock less ours; undefined where no server answered. */
  readonly clockOffsetMs: number | undefined;
}

export interface BridgeFacts {
  readonly name: string;
  readonly controllers: readonly string[];
  readonly failMode: string | undefined;
  readonly datapathType: string;
  readonly isWefts: boolean;
}

export interface LinkFacts {
  readonly name: string;
  readonly mtu: number;
  readonly addresses: readonly string[];
  readonly kind: string | undefined;
  readonly master: string | undefined;
}

export interface Wanted {
  readonly bridge: string;
  readonly tunnelAddress: string | undefined;
  readonly underlayMtu: number;
}

const TUNNEL_PORTS = { geneve: 6081, vxlan: 4789 } as const;
const LEAST_OVS = [2, 17];
/** Older ones abort in their userspace connection tracking under many short connections. */
const GOOD_OVS = [3, 1, 3];

export function judge(facts: HostFacts, wanted: Wanted): Finding[] {
  return [
    judgeOpenVswitch(facts),
    judgeDatapath(facts),
    judgeBridge(facts, wanted),
    judgeUnderlay(facts, wanted),
    judgeBridgesInTheWay(facts, wanted),
    judgeTunnelPorts(facts),
    judgeClock(facts),
    judgeTools(facts),
  ];
}

function isAtLeast(version: string, least: readonly number[]): boolean {
  const parts = version.split('.').map(Number);
  for (const [i, wanted] of least.entries()) if ((parts[i] ?? 0) !== wanted) return (parts[i] ?? 0) > wanted;
  return true;
}

function judgeOpenVswitch({ ovsVersion, databaseReachable }: HostFacts): Finding {
  const check = 'Open vSwitch';
  if (ovsVersion === undefined)
    return { check, level: 'error', text: 'is not installed', hint: 'apt install openvswitch-switch' };
  if (!isAtLeast(ovsVersion, LEAST_OVS))
    return {
      check,
      level: 'error',
      text: `${ovsVersion} is too old`,
      hint: `at least ${LEAST_OVS.join('.')}, better ${GOOD_OVS.join('.')} or newer`,
    };
  if (!databaseReachable)
    return {
      check,
      level: 'error',
      text: `${ovsVersion} does not run: its database does not answer`,
      hint: 'systemctl start openvswitch-switch',
    };
  if (!isAtLeast(ovsVersion, GOOD_OVS))
    return {
      check,
      level: 'warning',
      text: `${ovsVersion} works; before ${GOOD_OVS.join('.')} its userspace datapath can abort under many short tracked connections`,
    };
  return { check, level: 'ok', text: `${ovsVersion}, OpenFlow 1.5 with atomic bundles` };
}

function judgeDatapath({ kernelModule, bridge }: HostFacts): Finding {
  const check = 'datapath';
  if (bridge?.datapathType === 'netdev')
    return {
      check,
      level: 'warning',
      text: `bridge ${bridge.name} uses the userspace datapath: fine for a lab, slower than the kernel's`,
      hint: "workloads want the kernel's; this one loses some 10 ms of tunnelled packets whenever an interface of the host changes (LIMITS.md)",
    };
  if (kernelModule === 'loaded') return { check, level: 'ok', text: "the kernel's, loaded" };
  if (kernelModule === 'available')
    return { check, level: 'ok', text: "the kernel's, loaded when the first bridge is made" };
  return {
    check,
    level: 'error',
    text: 'the kernel has no openvswitch module',
    hint: "install the kernel's extra modules, or run the agent with --datapath netdev",
  };
}

function judgeBridge({ bridge }: HostFacts, wanted: Wanted): Finding {
  const check = 'integration bridge';
  if (!bridge) return { check, level: 'ok', text: `${wanted.bridge} is made by the agent` };
  if (bridge.controllers.length > 0 && !bridge.isWefts)
    return {
      check,
      level: 'error',
      text: `${bridge.name} is driven by ${bridge.controllers.join(', ')}`,
      hint: `only one may: ovs-vsctl del-controller ${bridge.name}, or another --bridge for the agent`,
    };
  if (bridge.failMode !== 'secure' && !bridge.isWefts)
    return {
      check,
      level: 'warning',
      text: `${bridge.name} is there and forwards by itself (fail_mode ${bridge.failMode ?? 'standalone'}); the agent sets it to secure and replaces its flows`,
    };
  return { check, level: 'ok', text: `${bridge.name} is there` };
}

/** What each encapsulation adds to a workload's frame, in bytes, over IPv4. */
const OVERHEAD = 58;

function judgeUnderlay({ links }: HostFacts, wanted: Wanted): Finding {
  const check = 'underlay';
  const holder =
    wanted.tunnelAddress === undefined
      ? undefined
      : links.find((link) => link.addresses.includes(wanted.tunnelAddress!));
  if (wanted.tunnelAddress !== undefined && !holder)
    return {
      check,
      level: 'error',
      text: `no interface of this host has the tunnel address ${wanted.tunnelAddress}`,
      hint: 'give the host the right tunnelAddress, or the interface its address',
    };
  const largest =
    holder ?? links.filter((l) => l.kind === undefined && l.name !== 'lo').toSorted((a, b) => b.mtu - a.mtu)[0];
  if (!largest) return { check, level: 'warning', text: 'no interface with an address was found' };
  if (largest.mtu < wanted.underlayMtu)
    return {
      check,
      level: 'error',
      text: `${largest.name} takes packets of ${largest.mtu} bytes, the host says ${wanted.underlayMtu}`,
      hint: `ip link set ${largest.name} mtu ${wanted.underlayMtu}, or underlayMtu: ${largest.mtu} for the host`,
    };
  return {
    check,
    level: 'ok',
    text: `${largest.name}, MTU ${largest.mtu}: workloads get about ${largest.mtu - OVERHEAD}`,
  };
}

function judgeBridgesInTheWay({ links, bridgeNetfilter }: HostFacts, wanted: Wanted): Finding {
  const check = 'bridges';
  const clash = links.find((link) => link.name === wanted.bridge && link.kind === 'bridge');
  if (clash)
    return {
      check,
      level: 'error',
      text: `a Linux bridge is called ${clash.name}`,
      hint: `rename it, or choose another --bridge`,
    };
  const uplink = links.find(
    (link) => wanted.tunnelAddress !== undefined && link.addresses.includes(wanted.tunnelAddress),
  );
  if (uplink?.kind === 'bridge' && bridgeNetfilter)
    return {
      check,
      level: 'warning',
      text: `tunnels leave by the Linux bridge ${uplink.name}, and bridged packets pass iptables`,
      hint: 'sysctl net.bridge.bridge-nf-call-iptables=0, unless something needs it',
    };
  return { check, level: 'ok', text: 'none in the way' };
}

function judgeTunnelPorts({ udpPorts, bridge }: HostFacts): Finding {
  const check = 'tunnel ports';
  const taken = Object.entries(TUNNEL_PORTS).filter(([, port]) => udpPorts.includes(port));
  // Open vSwitch's own tunnels hold them once the bridge is Weft's.
  if (taken.length === 0 || bridge?.isWefts)
    return { check, level: 'ok', text: 'UDP 6081 (Geneve) and 4789 (VXLAN) are free' };
  return {
    check,
    level: 'warning',
    text: `in use: ${taken.map(([name, port]) => `UDP ${port} (${name})`).join(', ')}`,
    hint: 'another overlay (flannel, a vxlan interface) has it: choose a tunnel zone with another encapsulation',
  };
}

function judgeClock({ clockOffsetMs }: HostFacts): Finding {
  const check = 'clock';
  if (clockOffsetMs === undefined) return { check, level: 'warning', text: 'not compared: no server answered' };
  const seconds = Math.abs(clockOffsetMs) / 1000;
  const text = `${seconds.toFixed(1)} s ${clockOffsetMs > 0 ? 'behind' : 'ahead of'} the server`;
  if (seconds > 30) return { check, level: 'error', text, hint: 'run chrony or systemd-timesyncd' };
  if (seconds > 2) return { check, level: 'warning', text, hint: 'run chrony or systemd-timesyncd' };
  return { check, level: 'ok', text: 'agrees with the server' };
}

function judgeTools({ nodeVersion, hasTcpdump }: HostFacts): Finding {
  const check = 'tools';
  if (!hasTcpdump)
    return {
      check,
      level: 'warning',
      text: `Node ${nodeVersion}; no tcpdump: 'weft capture' cannot show this host's ports`,
      hint: 'apt install tcpdump',
    };
  return { check, level: 'ok', text: `Node ${nodeVersion}, tcpdump` };
}

const execute = promisify(execFile);

async function output(program: string, ...args: string[]): Promise<string | undefined> {
  try {
    return (await execute(program, args, { timeout: 5_000 })).stdout;
  } catch {
    return undefined;
  }
}

/** Reads the facts of this host; changes nothing. */
export async function gatherFacts(
  bridge: string,
  ovsRunDir: string,
  clockOffsetMs: number | undefined,
): Promise<HostFacts> {
  const database = `--db=unix:${ovsRunDir}/db.sock`;
  const vsctl = (...args: string[]): Promise<string | undefined> =>
    output('ovs-vsctl', '--timeout=3', database, ...args);
  const [installed, running, list, addresses, modinfo, tcpdump] = await Promise.all([
    output('ovs-vsctl', '--version'),
    vsctl('get', 'Open_vSwitch', '.', 'ovs_version'),
    vsctl('list-br'),
    output('ip', '-j', '-d', 'addr'),
    output('modinfo', 'openvswitch'),
    output('tcpdump', '--version'),
  ]);
  const isThere = list?.split('\n').includes(bridge) === true;
  return {
    nodeVersion: process.version,
    // The one that runs counts, where it says what it is.
    ovsVersion:
      /^"?(\d+(?:\.\d+)*)/.exec(running ?? '')?.[1] ?? /\(Open vSwitch\) (\d+(?:\.\d+)*)/.exec(installed ?? '')?.[1],
    databaseReachable: list !== undefined,
    kernelModule: existsSync('/sys/module/openvswitch') ? 'loaded' : modinfo === undefined ? 'absent' : 'available',
    bridge: isThere ? await bridgeFacts(bridge, vsctl) : undefined,
    links: linksOf(addresses),
    udpPorts: [...portsIn('/proc/net/udp'), ...portsIn('/proc/net/udp6')],
    bridgeNetfilter: readTrimmed('/proc/sys/net/bridge/bridge-nf-call-iptables') === '1',
    hasTcpdump: tcpdump !== undefined,
    clockOffsetMs,
  };
}

async function bridgeFacts(
  name: string,
  vsctl: (...args: string[]) => Promise<string | undefined>,
): Promise<BridgeFacts> {
  const [controllers, failMode, datapathType, marks] = await Promise.all([
    vsctl('get-controller', name),
    vsctl('get-fail-mode', name),
    vsctl('get', 'bridge', name, 'datapath_type'),
    vsctl('get', 'bridge', name, 'external_ids'),
  ]);
  const text = (value: string | undefined): string => (value ?? '').trim().replaceAll('"', '');
  return {
    name,
    controllers: text(controllers)
      .split('\n')
      .filter((line) => line !== ''),
    failMode: text(failMode) || undefined,
    datapathType: text(datapathType) || 'system',
    isWefts: /weft/.test(marks ?? ''),
  };
}

/** `ip -j -d addr`, as much of it as is asked for. */
interface IpLink {
  readonly ifname: string;
  readonly mtu: number;
  readonly master?: string;
  readonly linkinfo?: { readonly info_kind?: string };
  readonly addr_info?: readonly { readonly local?: string }[];
}

function linksOf(json: string | undefined): LinkFacts[] {
  const links = JSON.parse(json || '[]') as IpLink[];
  return links.map((link) => ({
    name: link.ifname,
    mtu: link.mtu,
    addresses: (link.addr_info ?? []).flatMap((address) => address.local ?? []),
    kind: link.linkinfo?.info_kind,
    master: link.master,
  }));
}

/** proc(5): the second field is `address:port` in hexadecimal. */
function portsIn(path: string): number[] {
  return (readTrimmed(path) ?? '')
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const port = /^\s*\d+: [0-9A-F]+:([0-9A-F]{4})/.exec(line)?.[1];
      return port === undefined ? [] : [Number.parseInt(port, 16)];
    });
}

function readTrimmed(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trimEnd();
  } catch {
    return undefined;
  }
}
