import type { Journey } from './journey.ts';
import type { Leg } from './packet.ts';

export function enterRouter(journey: Journey, leg: Leg & { readonly at: 'router' }): void {
  journey.drop('router-down', leg.packet.host, { kind: 'routerPort', id: leg.port.id });
}
