import type { Outside } from '../../model/objects.ts';
import type { AttachmentPlan } from '../events.ts';
import type { Scope } from '../scope.ts';

/** An outside that has a place on this host. */
export interface Spot {
  readonly outside: Outside;
  /** Which of its places this is. */
  readonly place: number;
  /** Of a tunnel without its far end. */
  readonly plan: AttachmentPlan;
}

/** What is to be attached on a host. */
export function* spotsAt(scope: Scope, host: string): Iterable<Spot> {
  for (const outside of scope.all('l2Gateway')) {
    const place = outside.places.findIndex((each) => each.host === host);
    if (place < 0 || !outside.adminUp) continue;
    const { id, port, vlan } = outside;
    const { interface: name } = outside.places[place]!;
    yield { outside, place, plan: { gateway: id, port, interface: name, ...(vlan === undefined ? {} : { vlan }) } };
  }
  for (const outside of scope.all('vtepBinding')) {
    const places = scope.get('vtep', outside.vtep)?.places ?? [];
    const place = places.findIndex((each) => each.host === host);
    const local = places[place]?.address ?? scope.host(host)?.tunnelAddress;
    if (local === undefined || place < 0 || !outside.adminUp) continue;
    const { id, port, vni } = outside;
    yield { outside, place, plan: { gateway: id, port, vni, local } };
  }
}
