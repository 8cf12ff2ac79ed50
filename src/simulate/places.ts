import type { LogicalPort } from '../model/objects.ts';
import type { Journey } from './journey.ts';

/** Hosts that get frames for the port: where it is active and, during a declared migration, where it is about to be. */
export function placesOf({ model }: Journey, target: LogicalPort): string[] {
  const binding = model.bindingOf(target.id);
  if (binding?.active === undefined) return [];
  return binding.claims.map((claim) => claim.host).filter((h) => h === binding.active || h === target.host);
}

export function areJoined({ model }: Journey, host: string, other: string): boolean {
  return host === other || model.get('host', host)?.zone === model.get('host', other)?.zone;
}
