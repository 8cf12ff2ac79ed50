import { define, gatewaysIndex, routerPortsIndex } from './inputs.ts';
import { linkedRouters } from './tracking.ts';

/**
 * The outsides of L2 gateways that have an interface here (docs/design/l2-gateways.md, §4): their connections are kept on the host where they
 * are active, and move with them.
 */

export interface GatewayPort {
  readonly id: string;
  readonly key: number;
}

/** Those that lead to a router, over routers and switches that are not shared; sorted by id. */
export const gatewayPortsOf = define.cell<readonly GatewayPort[]>({
  name: 'gatewayPortsOf',
  run: (reader, router) => {
    const found = new Map<string, GatewayPort>();
    for (const gateway of reader.ids(gatewaysIndex, '')) {
      const id = reader.pick('l2Gateway', gateway, 'port')!;
      const key = reader.pick('port', id, 'key');
      if (key === undefined || reader.pick('interface', id, 'ofport') === undefined) continue;
      if (reader.derive(routersFrom, reader.pick('port', id, 'switch')!).includes(router)) found.set(id, { id, key });
    }
    return [...found.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  },
});

/** Routers that packets from a switch meet. */
export const routersFrom = define.cell<readonly string[]>({
  name: 'routersFrom',
  run: (reader, onSwitch) => {
    const seen = new Set(
      reader.ids(routerPortsIndex, onSwitch).map((port) => reader.pick('routerPort', port, 'router')!),
    );
    for (const router of seen) for (const next of reader.derive(linkedRouters, router)) seen.add(next);
    return [...seen].sort();
  },
});
