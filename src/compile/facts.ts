import { parseCidr, parseIp } from '../base/addresses.ts';
import type { Action, Flow } from '../openflow/flow.ts';
import { define, type Reader } from './inputs.ts';
import { PACKET_IN, type PacketInClass, TABLES } from './tables.ts';

/** Small derived facts that many units ask for. A cell stops a change that does not matter to its readers. */

export interface SwitchFacts {
  readonly key: number;
  readonly vlanAware: boolean;
  readonly adminUp: boolean;
  readonly hasSubnets: boolean;
  readonly hasIpv6Subnet: boolean;
}

/** What ports need of their switch; DHCP options and the like are not in it. */
export const switchFacts = define.cell<SwitchFacts | undefined>({
  name: 'switchFacts',
  run: (reader, id) => {
    const record = reader.get('switch', id);
    return (
      record && {
        key: record.key,
        vlanAware: record.vlanAware,
        adminUp: record.adminUp,
        hasSubnets: record.subnets.length > 0,
        hasIpv6Subnet: record.subnets.some((subnet) => parseCidr(subnet.cidr)?.ip.version === 6),
      }
    );
  },
});

export interface LocalSwitchFacts extends SwitchFacts {
  /** One of its ports here is without port security: addresses are learned. */
  readonly learns: boolean;
}

/** A switch that has a port here; undefined for others: nothing starts in them. */
export const localSwitch = define.cell<LocalSwitchFacts | undefined>({
  name: 'localSwitchFacts',
  run: (reader, switchId) =>
    reader.pick('localSwitch', switchId, 'isHere') === true ? reader.derive(reachedSwitch, switchId) : undefined,
});

/** A switch that has a port here or that a router leads to; undefined for others: nothing of them is compiled. */
export const reachedSwitch = define.cell<LocalSwitchFacts | undefined>({
  name: 'reachedSwitchFacts',
  run: (reader, switchId) => {
    const learns = reader.pick('localSwitch', switchId, 'learns');
    const facts = learns === undefined ? undefined : reader.derive(switchFacts, switchId);
    return facts && { ...facts, learns: learns! };
  },
});

/** This host's id; undefined while the agent does not know it. */
export function selfHost(reader: Reader): string | undefined {
  return reader.pick('self', 'self', 'host');
}

/** The OpenFlow port of the tunnels of this host's zone; undefined where there is none. */
export const tunnelOfport = define.cell<number | undefined>({
  name: 'tunnelOfport',
  run: (reader) => {
    const host = selfHost(reader);
    const zone = host === undefined ? undefined : reader.pick('host', host, 'zone');
    const encap = zone === undefined ? undefined : reader.pick('tunnelZone', zone, 'encap');
    return encap === undefined ? undefined : reader.pick('self', 'self', 'tunnelPorts')?.[encap];
  },
});

/**
 * How to get to a host: `here`, an action that makes it where the next tunnel packet goes, or undefined for a host that is not known or
 * in another zone.
 */
export const wayTo = define.cell<'here' | Action | undefined>({
  name: 'wayTo',
  run: (reader, host) => {
    const self = selfHost(reader);
    if (host === self) return 'here';
    const zone = reader.pick('host', host, 'zone');
    if (self === undefined || zone === undefined || zone !== reader.pick('host', self, 'zone')) return undefined;
    const ip = parseIp(reader.pick('host', host, 'tunnelAddress') ?? '');
    return ip && { kind: 'setField', field: ip.version === 4 ? 'tun_dst' : 'tun_ipv6_dst', value: ip.value };
  },
});

/** As much of a frame as a sample needs: the headers that tell what was wrong with it. */
const SAMPLE_BYTES = 128;
const WHOLE = 0xffff;
/** OFPR_APPLY_ACTION (OpenFlow 1.5.1 §7.4.1). */
const REASON_ACTION = 1;

/** Through which meter: `packetIn` where nothing else is said. */
const METER_OF: Partial<
  Record<PacketInClass, 'learn' | 'notice' | 'error' | 'wanted' | 'log' | 'nextHop' | 'probe' | 'neighbour' | 'dns'>
> = {
  learn: 'learn',
  log: 'log',
  neighbour: 'neighbour',
  probe: 'probe',
  hello: 'notice',
  dns: 'dns',
  reject: 'error',
  unreachable: 'error',
  ttl: 'error',
  tooBig: 'error',
  portUnreachable: 'error',
  reset: 'error',
  resolve: 'wanted',
  noPorts: 'wanted',
  nextHop: 'nextHop',
};

/** To the agent, through the meter for frames that it has to see. */
export function toAgent(reader: Reader, wanted: PacketInClass): Action {
  const meters = reader.pick('self', 'self', 'meters');
  return controller(wanted, WHOLE, meters?.[METER_OF[wanted] ?? 'packetIn'] ?? meters?.packetIn);
}

/**
 * To the agent, which lets it go on by the actions behind this one. It passes no meter: what a meter held back would be lost. Who has to bound
 * them takes the way to it away (src/agent/hold).
 */
function toAgentPaused(): Action {
  return { ...(controller('firstReply', WHOLE, undefined) as Extract<Action, { kind: 'controller' }>), pause: true };
}

/** Waits for the agent, if there is one: it keeps the one flow of that table alive (`pausing`), and without it the packet goes on at once. */
export const waitForAgent: Action = { kind: 'resubmit', table: TABLES.pause.number };

/** Not compiled: the agent's own, which ends with it. */
export function pausing(): Flow {
  return { table: TABLES.pause.number, priority: 1, match: {}, actions: [toAgentPaused()], cookie: 0n, hardTimeout: 3 };
}

/** A sample of what is dropped, so that the agent notices a spray; nothing where no meter holds it back. */
export function sample(reader: Reader, wanted: 'guard' | 'stray' = 'guard'): Action[] {
  const meter = reader.pick('self', 'self', 'meters')?.sample;
  return meter === undefined ? [] : [controller(wanted, SAMPLE_BYTES, meter)];
}

function controller(wanted: PacketInClass, maxLen: number, meter: number | undefined): Action {
  return {
    kind: 'controller',
    maxLen,
    reason: REASON_ACTION,
    controller: 0,
    userdata: Uint8Array.of(PACKET_IN[wanted]),
    ...(meter === undefined ? {} : { meter }),
  };
}
