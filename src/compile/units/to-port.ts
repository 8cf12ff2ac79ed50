import type { Contribution } from '../../incremental/definitions.ts';
import type { LogicalPort } from '../../model/objects.ts';
import type { Action } from '../../openflow/flow.ts';
import { switchFacts } from '../facts.ts';
import { IPV4, IPV6, match, REGISTERS, TAGGED, VALID } from '../fields.ts';
import { type FlowTarget, flow } from '../flow-sink.ts';
import { define, type Reader } from '../inputs.ts';
import { portLimit } from '../meters.ts';
import { copies } from '../mirrors.ts';
import { placementOf } from '../placement.ts';
import type { TableName } from '../tables.ts';
import { portTracked } from '../tracking.ts';
import { KNOWN, marked, track, zoneOf } from '../translation.ts';
import { startChain } from './chain.ts';

/** The two ends of a local port: the chain behind its entry (step 4), and what stands before its exit (step 7). */
const TO_PORT = { down: 300, chain: 200 } as const;
const DELIVER = { untagged: 100, held: 50 } as const;
/** Of answers to a VIP (units/translation.ts). */
export const FROM_VIP = { selfCall: 200, copied: 150, vip: 100 } as const;

export const fromChainUnit = define.unit({
  name: 'fromChain',
  over: 'interface',
  run(reader, id): readonly Contribution[] {
    const port = reader.get('port', id);
    if (port?.fromChain === undefined) return [];
    const target = throughChain(reader, port.fromChain, 'fromVerdict');
    return [flow('fromPort', 100, match({ inPort: port.key }), target)];
  },
});

export const toPortUnit = define.unit({
  name: 'toPort',
  over: 'interface',
  run(reader, id): readonly Contribution[] {
    const port = reader.get('port', id);
    if (port === undefined || placementOf(reader, id).ofport === undefined) return [];
    const to = match({ outPort: port.key });
    const flows: Contribution[] = [];
    const isCut = reader.get('cut', id) !== undefined;
    if (isCut) flows.push(flow('toPort', TO_PORT.down, to, { drop: 'loop' }));
    else if (!port.adminUp) flows.push(flow('toPort', TO_PORT.down, to, { drop: 'port-down' }));
    if (port.toChain !== undefined) {
      const target = throughChain(reader, port.toChain, 'toVerdict');
      // Only of tracked ports is there more to ask before.
      if (reader.derive(portTracked, id)) flows.push(flow('toChain', 100, to, target));
      else flows.push(flow('toPort', TO_PORT.chain, to, target));
    }
    const untagged = reader.derive(switchFacts, port.switch)?.vlanAware ? untaggedVlan(port) : undefined;
    const { meters, pass } = portLimit(reader, id, 'receive');
    const before = [...pass, ...copies(reader, id, 'to')];
    // A meter drops all that comes behind it: other copies of a flood must not be.
    const handOver = (...actions: readonly Action[]): Action[] =>
      pass.length === 0 ? [...before, ...actions] : [{ kind: 'clone', actions: [...before, ...actions] }];
    if (untagged !== undefined) {
      const where = match({ outPort: port.key, vlan: untagged }, { vlan_vid: TAGGED });
      flows.push(flow('deliver', DELIVER.untagged, where, { do: handOver({ kind: 'popVlan' }, toWorkload) }));
    }
    if (before.length > 0) flows.push(flow('deliver', DELIVER.held, to, { do: handOver(toWorkload) }));
    if (copies(reader, id, 'to').length > 0 && reader.derive(portTracked, id)) flows.push(...beforeCopies(port.key));
    return [...flows, ...meters];
  },
});

const toWorkload: Action = { kind: 'outputReg', src: REGISTERS.outOfport };

/** Mirrors may choose by addresses: answers of a VIP have theirs in a pass of their own. */
function beforeCopies(outPort: number): Contribution[] {
  const turnedBack = { do: [...zoneOf('outZone', 'vip'), track('deliver', undefined, KNOWN)] };
  return [IPV4, IPV6].map((ip) =>
    flow(
      'fromVip',
      FROM_VIP.copied,
      match({ outPort, outTracked: 1, isReply: 1 }, { ...ip, ...VALID, ...marked('viaVip') }),
      turnedBack,
    ),
  );
}

/** Is there more to a frame for the port than to output it? */
export function isHeldAtDelivery(reader: Reader, id: string): boolean {
  return portLimit(reader, id, 'receive').pass.length > 0 || copies(reader, id, 'to').length > 0;
}

/** Runs a chain, then asks what it decided. A chain that is not there drops: what it would have said is not known. */
export function throughChain(reader: Reader, chainId: string, next: TableName): FlowTarget {
  const key = reader.pick('chain', chainId, 'key');
  if (key === undefined) return { drop: 'policy' };
  const policyDrop = reader.pick('chain', chainId, 'policy') === 'drop' ? 1 : 0;
  return { do: startChain(key, { segment: 0, left: 0, policyDrop }), goto: next };
}

/** The VLAN whose frames the workload gets without a tag. */
function untaggedVlan(port: LogicalPort): number | undefined {
  if (port.vlan === undefined) return undefined;
  return 'access' in port.vlan ? port.vlan.access : port.vlan.native;
}
