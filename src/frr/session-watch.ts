import { formatIpv4, formatIpv6 } from '../base/addresses.ts';

/** By then zebra has taken the routes back itself, and what it still says goes to that address is meant. */
const AVOID_MS = 10_000;
const BGP_PORT = 179;
/** TCP_ESTABLISHED (net/tcp_states.h), as /proc writes it. */
const ESTABLISHED = '01';

/**
 * Which gateways to avoid because their sessions ended. bgpd, which knows, does not answer while it clears 100,000 routes; its socket is closed before it
 * begins. So bgpd says now and then which sessions are up, and the kernel many times a second which connections are. Deterministic: one call for each look.
 */
export class SessionWatch {
  readonly #up = new Set<string>();
  readonly #endedAtMs = new Map<string, number>();

  /**
   * `mortal`: addresses of the peers whose routes go with their session; nobody else's count. `established`: those that bgpd
   * says are up, where it was asked.
   */
  look(
    mortal: ReadonlySet<string>,
    connected: ReadonlySet<string>,
    established: ReadonlySet<string> | undefined,
    nowMs: number,
  ): ReadonlySet<string> {
    for (const address of this.#up) {
      if (connected.has(address) && established?.has(address) !== false) continue;
      this.#up.delete(address);
      if (mortal.has(address)) this.#endedAtMs.set(address, nowMs);
    }
    for (const address of established ?? []) {
      if (!connected.has(address)) continue; // it ended since
      this.#up.add(address);
      this.#endedAtMs.delete(address);
    }
    for (const [address, endedAtMs] of this.#endedAtMs)
      if (nowMs - endedAtMs >= AVOID_MS) this.#endedAtMs.delete(address);
    return new Set(this.#endedAtMs.keys());
  }
}

/**
 * The other ends of BGP's connections that are up, from a namespace's /proc/net/tcp and tcp6. An address is written there as numbers of
 * 32 bits in the byte order of the machine.
 */
export function connectedPeers(...tables: readonly string[]): Set<string> {
  const peers = new Set<string>();
  for (const row of tables.flatMap((table) => table.split('\n').slice(1))) {
    const [, local, remote, state] = row.trim().split(/\s+/);
    if (state !== ESTABLISHED || !local || !remote) continue;
    if (portOf(local) === BGP_PORT || portOf(remote) === BGP_PORT) peers.add(addressOf(remote));
  }
  return peers;
}

function portOf(end: string): number {
  return Number.parseInt(end.slice(end.indexOf(':') + 1), 16);
}

function addressOf(end: string): string {
  const bytes = Buffer.from(end.slice(0, end.indexOf(':')), 'hex');
  if (new Uint8Array(new Uint16Array([1]).buffer)[0] === 1) bytes.swap32();
  if (bytes.length === 4) return formatIpv4(bytes.readUInt32BE(0));
  const value = (bytes.readBigUInt64BE(0) << 64n) | bytes.readBigUInt64BE(8);
  // An IPv4 connection of a socket for both families.
  return value >> 32n === 0xffffn ? formatIpv4(Number(value & 0xffff_ffffn)) : formatIpv6(value);
}
