/**
 * Connections behind an SNAT address as `natMove` records name them: what comes from outside for one of them shows this. One text each, as there
 * may be thousands in a record: `tcp/1386/203.0.113.101/80`.
 */
export interface MovedConnection {
  readonly protocol: 'tcp' | 'udp';
  /** Of the SNAT address. */
  readonly port: number;
  /** The other end. */
  readonly remote: string;
  readonly remotePort: number;
}

/** More of one workload and address are not taken along. */
export const MOST_MOVED = 4_096;

export function movedText({ protocol, port, remote, remotePort }: MovedConnection): string {
  return `${protocol}/${port}/${remote}/${remotePort}`;
}

const TEXT = /^(tcp|udp)\/(\d{1,5})\/([0-9a-f.:]{2,45})\/(\d{1,5})$/;

/** Undefined for what is none. `remote` is not looked at further. */
export function parseMoved(text: string): MovedConnection | undefined {
  const [, protocol, port, remote, remotePort] = TEXT.exec(text) ?? [];
  if (protocol === undefined || Number(port) > 0xffff || Number(remotePort) > 0xffff) return undefined;
  return { protocol: protocol as 'tcp' | 'udp', port: Number(port), remote: remote!, remotePort: Number(remotePort) };
}
