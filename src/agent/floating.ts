import { parseIp } from '../base/addresses.ts';
import type { FloatingAddress } from '../model/objects.ts';
import type { Scope } from './scope.ts';

/** A router's floating addresses that lead somewhere, each with the workload's address that it stands for; none that is administratively down. */
export function* floatingOf(
  scope: Scope,
  router: string,
): Iterable<{ readonly floating: FloatingAddress; readonly fixed: string }> {
  for (const floating of scope.all('floatingAddress')) {
    if (floating.router !== router) continue;
    const fixed = fixedOf(scope, floating);
    if (fixed !== undefined) yield { floating, fixed };
  }
}

/** The workload's address that it stands for; undefined where it is administratively down, or leads nowhere. */
export function fixedOf(scope: Scope, { adminUp, fixed, port, address }: FloatingAddress): string | undefined {
  return adminUp ? (fixed ?? firstAddress(scope, port, parseIp(address)!.version)) : undefined;
}

/** Of a port, as text; undefined where it has none of this version, or is not known. */
export function firstAddress(scope: Scope, port: string, version: 4 | 6): string | undefined {
  return scope.port(port)?.addresses.find((text) => parseIp(text)?.version === version);
}
