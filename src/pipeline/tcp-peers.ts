/** Flags of TCP headers. */
const TCP_FLAG = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32 } as const;

/** How far a side is, in Open vSwitch's order (`ct_dpif_tcp_state`): comparisons count. */
const PEER = { closed: 0, synSent: 2, established: 4, closing: 7, finWait2: 9, timeWait: 10 } as const;

const STATES: ReadonlyMap<number, string> = new Map([
  [PEER.closed, 'closed'],
  [PEER.synSent, 'syn-sent'],
  [PEER.established, 'established'],
  [PEER.closing, 'closing'],
  [PEER.finWait2, 'fin-wait-2'],
  [PEER.timeWait, 'time-wait'],
]);

/** What a TCP packet of a known connection is: Open vSwitch's `ct_update_res`. */
export type TcpUpdate = 'valid' | 'valid-new' | 'reopens' | 'invalid';

/** Both sides of a TCP connection as Open vSwitch follows them (`conntrack-tcp.c`), without sequence numbers. */
export class TcpPeers {
  /** By direction: who began, who answers. */
  readonly #peers: [number, number] = [PEER.synSent, PEER.closed];

  /** As Open vSwitch tells it: of the side that is further. */
  get state(): string {
    return STATES.get(Math.max(...this.#peers))!;
  }

  /** Both sides have closed. */
  get isOver(): boolean {
    return this.#peers.every((peer) => peer >= PEER.closing);
  }

  update(flags: number, isReply: boolean): TcpUpdate {
    const { fin, syn, rst, ack } = TCP_FLAG;
    if (senselessFlags(flags)) return 'invalid';
    const peers = this.#peers;
    const [src, dst] = isReply ? [1, 0] : [0, 1];
    if ((flags & (syn | ack)) === syn) {
      if (peers[src]! >= PEER.finWait2 && peers[dst]! >= PEER.finWait2) return 'reopens';
      if (peers[src]! <= PEER.synSent) {
        peers[src] = PEER.synSent;
        return 'valid-new';
      }
    }
    if (peers[src]! < PEER.synSent) peers[src] = PEER.synSent;
    if (flags & fin && peers[src]! < PEER.closing) peers[src] = PEER.closing;
    if (flags & ack) {
      if (peers[dst] === PEER.synSent) peers[dst] = PEER.established;
      else if (peers[dst] === PEER.closing) peers[dst] = PEER.finWait2;
    }
    if (flags & rst) peers[src] = peers[dst] = PEER.timeWait;
    return 'valid';
  }
}

/** Whether a TCP packet may begin a connection: in the middle of one it may, in the middle of its handshake not. */
export function beginsTcp(flags: number): boolean {
  const synAck = TCP_FLAG.syn | TCP_FLAG.ack;
  return !senselessFlags(flags) && (flags & synAck) !== synAck;
}

/** Flags that no sender means: SYN with FIN or RST, neither SYN nor ACK nor RST, and FIN, PSH or URG without ACK. */
function senselessFlags(flags: number): boolean {
  const { fin, syn, rst, psh, ack, urg } = TCP_FLAG;
  if (flags & syn ? flags & (rst | fin) : !(flags & (ack | rst))) return true;
  return !(flags & ack) && (flags & (fin | psh | urg)) !== 0;
}
