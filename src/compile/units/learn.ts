import type { Contribution } from '../../incremental/definitions.ts';
import { learnsHere, type SwitchFacts, selfHost, switchFacts, toAgent } from '../facts.ts';
import { match, UNICAST_ADDRESS } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, holdersIndex } from '../inputs.ts';
import { macOf } from '../owned.ts';
import { vlanBlocks, vlansOf } from '../vlans.ts';

/**
 * Addresses behind ports without port security (step 3): a source that is not known to be behind its port goes to the agent, and on.
 * The agent reads from the counters of `known` whether an address is still in use.
 */
export const LEARN = { known: 400, own: 300, held: 200, news: 100 } as const;

export const learnPortUnit = define.unit({
  name: 'learn',
  over: 'interface',
  run(reader, id): readonly Contribution[] {
    const port = reader.get('port', id);
    if (port === undefined || port.portSecurity) return [];
    const target = { do: [toAgent(reader, 'learn')], goto: 'fromPort' } as const;
    const own = reader.ids(holdersIndex, `${port.switch}/${port.mac}`);
    return [
      flow('learn', LEARN.news, match({ inPort: port.key }, { eth_src: UNICAST_ADDRESS }), target),
      // Only MACs of others are never learned.
      ...(own.length === 1
        ? [flow('learn', LEARN.own, match({ inPort: port.key }, { eth_src: macOf(port.mac) }), target)]
        : []),
    ];
  },
});

/** What this host's ports have taught. */
export const learnedSourceUnit = define.unit({
  name: 'learned',
  over: 'learned',
  run(reader, id): readonly Contribution[] {
    const learned = reader.get('learned', id)!;
    const inPort = reader.pick('port', learned.port, 'key');
    const isHere = learned.host === selfHost(reader) && reader.get('interface', learned.port) !== undefined;
    if (inPort === undefined || !isHere || reader.pick('port', learned.port, 'portSecurity') !== false) return [];
    const source = match({ inPort, vlan: learned.vlan }, { eth_src: macOf(learned.mac) });
    return [flow('learn', LEARN.known, source, { goto: 'fromPort' })];
  },
});

/** A MAC that some port owns statically is not learned behind another. */
export const heldSourceUnit = define.unit({
  name: 'heldSource',
  over: holdersIndex,
  run(reader, group): readonly Contribution[] {
    const slash = group.indexOf('/');
    const switchId = group.slice(0, slash);
    const onSwitch: SwitchFacts | undefined = reader.derive(learnsHere, switchId)
      ? reader.derive(switchFacts, switchId)
      : undefined;
    if (onSwitch === undefined) return [];
    const eth_src = macOf(group.slice(slash + 1));
    const key = { switch: onSwitch.key };
    if (!onSwitch.vlanAware) return [flow('learn', LEARN.held, match(key, { eth_src }), { goto: 'fromPort' })];
    const blocks = vlanBlocks(reader.ids(holdersIndex, group), (port) => vlansOf(reader, port));
    return blocks.map(({ vlans, above }) =>
      flow('learn', LEARN.held + above, match({ ...key, ...vlans }, { eth_src }), { goto: 'fromPort' }),
    );
  },
});
