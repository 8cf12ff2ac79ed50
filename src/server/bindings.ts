import { describe } from '../model/describe.ts';
import type { Draft } from '../model/draft.ts';
import type { ModelIndex } from '../model/model-index.ts';
import type { Binding, Claim, LogicalPort } from '../model/objects.ts';
import type { ReportedClaim } from './protocol.ts';

/**
 * Where ports' interfaces are: agents report what they have (claims), and one of a port's claims is active. The first
 * claim becomes active; a further one waits until its workload announces itself there, or a person says so. The records
 * are durable: after a restart of the server traffic goes where it went.
 */

/** Something a person should see. */
export interface Notice {
  readonly level: 'info' | 'warning';
  /** What it is about. */
  readonly kind: 'port' | 'router' | 'l2Gateway' | 'vtepBinding' | 'bgpPeer' | 'mirror';
  readonly id: string;
  readonly text: string;
}

export type ClaimOutcome = 'held' | 'no-port';

/** The host has an interface with the port's id. */
export function claimPort(
  draft: Draft,
  hostId: string,
  reported: ReportedClaim,
  nowMs: number,
  notify: (notice: Notice) => void,
): ClaimOutcome {
  const { index } = draft;
  const port = index.get('port', reported.port);
  if (!port) return 'no-port';
  const binding = index.bindingOf(port.id);
  const claims = binding?.claims ?? [];
  const known = claims.find((claim) => claim.host === hostId);
  if (isSame(known, reported)) return 'held';
  const claim: Claim = {
    host: hostId,
    interface: reported.interface,
    sinceMs: known?.sinceMs ?? nowMs,
    ...(reported.vm === undefined ? {} : { vm: reported.vm }),
  };
  const others = claims.filter((other) => other.host !== hostId);
  putBinding(draft, port, [...others, claim], binding?.active ?? hostId);
  // Of an outside every place has one.
  if (!known && others.length > 0 && port.host !== hostId && index.outsideOfPort(port.id) === undefined) {
    const names = others.map((other) => index.get('host', other.host)?.name ?? other.host).join(', ');
    const text =
      `${describe(index, port)}: ${index.get('host', hostId)?.name ?? hostId} has interface ${claim.interface} with this port's id as well as ${names}; ` +
      'traffic stays where it is until the workload announces itself there (a migration) or the port is activated; if nothing is being moved, one of the interfaces has a copied id';
    notify({ level: 'warning', kind: 'port', id: port.id, text });
  }
  return 'held';
}

/** Is the claim in the port's binding already, as it is reported? */
export function holdsClaim(index: ModelIndex, hostId: string, reported: ReportedClaim): boolean {
  const claims = index.bindingOf(reported.port)?.claims ?? [];
  return isSame(
    claims.find((claim) => claim.host === hostId),
    reported,
  );
}

function isSame(claim: Claim | undefined, reported: ReportedClaim): boolean {
  return claim !== undefined && claim.interface === reported.interface && claim.vm === reported.vm;
}

/** The host no longer has the interface. */
export function unclaimPort(draft: Draft, hostId: string, portId: string): void {
  const binding = draft.index.bindingOf(portId);
  const port = draft.index.get('port', portId);
  if (!binding || !port || !binding.claims.some((claim) => claim.host === hostId)) return;
  const claims = binding.claims.filter((claim) => claim.host !== hostId);
  const active = binding.active === hostId ? successorOf(port, claims)?.host : binding.active;
  putBinding(draft, port, claims, active);
}

/** Where the workload should be, otherwise who has waited longest. */
function successorOf(port: LogicalPort, claims: readonly Claim[]): Claim | undefined {
  return claims.find((claim) => claim.host === port.host) ?? claims.toSorted((a, b) => a.sinceMs - b.sinceMs)[0];
}

/** All interfaces of the host: what is not among them is no longer there. Returns the ports that do not exist. */
export function replaceClaims(
  draft: Draft,
  hostId: string,
  reported: readonly ReportedClaim[],
  nowMs: number,
  notify: (notice: Notice) => void,
): readonly ReportedClaim[] {
  const ports = new Set(reported.map((claim) => claim.port));
  for (const binding of [...draft.index.bindingsOnHost(hostId)])
    if (!ports.has(binding.id)) unclaimPort(draft, hostId, binding.id);
  return reported.filter((claim) => claimPort(draft, hostId, claim, nowMs, notify) === 'no-port');
}

export type ActivateOutcome = 'active' | 'no-port' | 'no-claim';

/** Traffic for the port goes to the host from now on. */
export function activatePort(draft: Draft, hostId: string, portId: string): ActivateOutcome {
  const port = draft.index.get('port', portId);
  if (!port) return 'no-port';
  const binding = draft.index.bindingOf(portId);
  if (!binding?.claims.some((claim) => claim.host === hostId)) return 'no-claim';
  if (binding.active !== hostId) putBinding(draft, port, binding.claims, hostId);
  return 'active';
}

function putBinding(draft: Draft, port: LogicalPort, claims: readonly Claim[], active: string | undefined): void {
  const binding: Binding = {
    kind: 'binding',
    id: port.id,
    revision: 0,
    switch: port.switch,
    claims,
    ...(active === undefined ? {} : { active }),
  };
  draft.put(binding);
}
