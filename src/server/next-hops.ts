import { parseIp } from '../base/addresses.ts';
import { qualifiedName } from '../model/describe.ts';
import type { ModelIndex } from '../model/model-index.ts';
import type { NextHopProbe, Router } from '../model/objects.ts';
import { portTowards, silenceOf, timeText } from '../simulate/routes.ts';
import type { StatusProblem } from './present.ts';

/** What people see of next hops that static routes probe (docs/design/gateways.md, §7). */
export interface NextHopStatus {
  readonly address: string;
  readonly probe: NextHopProbe['type'];
  /** `unknown`: no gateway has said yet. */
  readonly state: 'answers' | 'silent' | 'unknown';
  readonly sinceMs?: number;
  /** Names of the gateways that ask it. */
  readonly hosts: readonly string[];
}

/** Each probed next hop of the router once, in the order of its routes. `dead`: hosts that answer nobody. */
export function nextHopsOf(index: ModelIndex, router: Router, dead: ReadonlySet<string>): readonly NextHopStatus[] {
  const found = new Map<string, NextHopStatus>();
  for (const { via, probe } of router.routes) {
    if (via === undefined || probe === undefined || found.has(via)) continue;
    const said = [...index.nextHopStatesOf(router.id)].filter(({ address }) => address === via);
    const hosts = said.map(({ host }) => index.get('host', host)?.name ?? host).sort();
    const [silence] = silenceOf(index, router, via, (host) => dead.has(host));
    const well = said.filter(({ up }) => up).map(({ sinceMs }) => sinceMs);
    const state = silence ? 'silent' : well.length > 0 ? 'answers' : 'unknown';
    const since = silence?.[1] ?? Math.min(...well);
    found.set(via, {
      ...{ address: via, probe: probe.type, state, hosts },
      ...(state === 'unknown' ? {} : { sinceMs: since }),
    });
  }
  return [...found.values()];
}

/** Next hops that do not answer, and those that nobody asks. */
export function nextHopProblems(index: ModelIndex, dead: ReadonlySet<string>): readonly StatusProblem[] {
  const problems: StatusProblem[] = [];
  for (const router of index.all('router')) {
    if (!router.adminUp) continue;
    for (const { address, state, hosts, sinceMs } of nextHopsOf(index, router, dead)) {
      const text =
        state === 'silent'
          ? `next hop ${address} does not answer since ${timeText(sinceMs!)} (asked by ${hosts.join(', ')})`
          : state === 'unknown' && !hasWire(index, router, address)
            ? `nobody asks whether next hop ${address} answers: no host has an active port without port security on its switch`
            : undefined;
      if (text === undefined) continue;
      const name = qualifiedName(index, router);
      problems.push({ about: { kind: 'router', id: router.id, name }, text: `router ${name}: ${text}` });
    }
  }
  return problems;
}

function hasWire(index: ModelIndex, router: Router, address: string): boolean {
  const onSwitch = portTowards(index, router, parseIp(address)!)?.switch;
  if (onSwitch === undefined) return false;
  for (const port of index.portsOfSwitch(onSwitch))
    if (!port.portSecurity && index.bindingOf(port.id)?.active !== undefined) return true;
  return false;
}
