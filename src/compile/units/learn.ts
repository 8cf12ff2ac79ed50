import type { Contribution } from '../../incremental/definitions.ts';
import { selfHost, toAgent } from '../facts.ts';
import { match, UNICAST_ADDRESS } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define } from '../inputs.ts';
import { macOf } from '../owned.ts';

/**
 * Addresses behind ports without port security (step 3): a source that is not known to be behind its port goes to the agent, and on.
 * The agent reads from the counters of `known` whether an address is still in use.
 */
export const LEARN = { group: 500, known: 400, held: 200, news: 100 } as const;

export const learnPortUnit = define.unit({
  name: 'learn',
  over: 'interface',
  run(reader, id): readonly Contribution[] {
    const port = reader.get('port', id);
    if (port === undefined || port.portSecurity) return [];
    const target = { do: [toAgent(reader, 'learn')], goto: 'vip' } as const;
    return [flow('learn', LEARN.news, match({ inPort: port.key }, { eth_src: UNICAST_ADDRESS }), target)];
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
    return [flow('learn', LEARN.known, source, { goto: 'vip' })];
  },
});
