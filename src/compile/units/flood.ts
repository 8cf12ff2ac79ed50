import type { Contribution } from '../../incremental/definitions.ts';
import type { Action } from '../../openflow/flow.ts';
import { chunked } from '../chunks.ts';
import { reachedSwitch, type SwitchFacts, switchFacts, wayTo } from '../facts.ts';
import { load, match, type Registers, set, VERDICT } from '../fields.ts';
import { activeHostsIndex, define, localPortsIndex, movingIndex, type Reader, unsecuredIndex } from '../inputs.ts';
import { placementOf } from '../placement.ts';
import { TABLES } from '../tables.ts';
import { meetsKnownOnly, portTracked, receiverRegisters } from '../tracking.ts';
import { type VlanBlock, vlanBlocks, vlansOf } from '../vlans.ts';
import { isHeldAtDelivery } from './to-port.ts';

/**
 * Floods (step 6): one copy per remote host with the switch's key, then one per local port. A group address goes to every
 * port in the VLAN; an unknown MAC (register `unknown`) only to ports without port security.
 */
const FLOOD = { remote: 100, local: 100 } as const;

export const floodRemoteUnit = define.unit({
  name: 'floodRemote',
  over: 'switch',
  run(reader, id) {
    const onSwitch = reader.derive(reachedSwitch, id);
    if (onSwitch === undefined) return [];
    const all = remoteHosts(reader, [...reader.members(activeHostsIndex, id), ...movingHosts(reader, id)]);
    const unsecured = remoteHosts(
      reader,
      reader.ids(unsecuredIndex, id).flatMap((port) => placementOf(reader, port).hosts),
    );
    return [...remoteCopies(onSwitch, 0, all), ...remoteCopies(onSwitch, 1, unsecured)];
  },
});

function movingHosts(reader: Reader, switchId: string): string[] {
  return reader.ids(movingIndex, switchId).flatMap((port) => placementOf(reader, port).hosts);
}

/** How to get to each of these hosts, this one aside, sorted by host. */
function remoteHosts(reader: Reader, hosts: readonly string[]): Action[] {
  return [...new Set(hosts)].sort().flatMap((host) => {
    const way = reader.derive(wayTo, host);
    return way === undefined || way === 'here' ? [] : [way];
  });
}

function remoteCopies(onSwitch: SwitchFacts, unknown: 0 | 1, hosts: readonly Action[]): Contribution[] {
  if (hosts.length === 0) return [];
  const where = match({ switch: onSwitch.key, fromTunnel: 0, unknown, chunk: 0 });
  const out: Action = { kind: 'resubmit', table: TABLES.tunnelOut.number };
  return chunked('flood', FLOOD.remote, where, {
    first: [set('tun_id', BigInt(onSwitch.key))],
    copies: hosts.map((to) => [to, out]),
    last: { goto: 'floodLocal' },
  });
}

export const floodLocalUnit = define.unit({
  name: 'floodLocal',
  over: 'switch',
  run(reader, id) {
    const ports = reader.ids(localPortsIndex, id);
    const onSwitch = ports.length === 0 ? undefined : reader.derive(switchFacts, id);
    if (onSwitch === undefined) return [];
    const open = new Set(reader.ids(unsecuredIndex, id));
    const unsecured = open.size === 0 ? [] : ports.filter((port) => open.has(port));
    return [...localCopies(reader, onSwitch, 0, ports), ...localCopies(reader, onSwitch, 1, unsecured)];
  },
});

function localCopies(reader: Reader, onSwitch: SwitchFacts, unknown: 0 | 1, ports: readonly string[]): Contribution[] {
  const copies = new Map<string, readonly Action[]>();
  for (const port of ports) {
    const copy = reader.derive(copyTo, port);
    if (copy !== undefined) copies.set(port, copy);
  }
  const here = [...copies.keys()];
  const everywhere: VlanBlock = { members: here, vlans: {}, above: 0 };
  const blocks = onSwitch.vlanAware ? vlanBlocks(here, (port) => vlansOf(reader, port)) : [everywhere];
  return blocks
    .filter(({ members }) => members.length > 0)
    .flatMap(({ members, vlans, above }) =>
      chunked('floodLocal', FLOOD.local + above, match({ switch: onSwitch.key, unknown, ...vlans, chunk: 0 }), {
        copies: members.map((port) => copies.get(port)!),
      }),
    );
}

/**
 * The copy of a flood that a local port gets, so that one port more does not ask about all others again. A port that nothing more is asked
 * about gets it at once; any other goes the way of unicast frames.
 */
const copyTo = define.cell<readonly Action[] | undefined>({
  name: 'floodCopy',
  run(reader, id) {
    const { ofport } = placementOf(reader, id);
    const port = ofport === undefined ? undefined : reader.get('port', id);
    const onSwitch = port && reader.derive(switchFacts, port.switch);
    if (onSwitch === undefined) return undefined;
    const isTracked = reader.derive(portTracked, id);
    const isUp = port!.adminUp && reader.get('cut', id) === undefined;
    const isAsked = port!.toChain !== undefined || isTracked || isHeldAtDelivery(reader, id);
    // Routers send to such a port what may only be of a known connection, where its MAC is nobody's.
    const mayBeUnknown = !port!.portSecurity && meetsKnownOnly(reader);
    if (!onSwitch.vlanAware && isUp && !isAsked && !mayBeUnknown) return [{ kind: 'output', port: ofport! }];
    // Of the copy before, nothing may be left.
    const registers: Registers = isTracked ? receiverRegisters(reader, id) : { outTracked: 0 };
    const actions: Action[] = [
      ...load({ outPort: port!.key, outOfport: ofport!, verdict: VERDICT.none, ...registers }),
      { kind: 'resubmit', table: TABLES.toPort.number },
    ];
    // On a VLAN-aware switch delivery may take the tag off, which the next copy has to have again.
    return onSwitch.vlanAware ? [{ kind: 'clone', actions }] : actions;
  },
});
