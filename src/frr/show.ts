import { WeftError } from '../base/errors.ts';
import { RETRY_AFTER_MAX_PREFIXES_MIN } from './config.ts';
import { INWARDS } from './policies.ts';

/** What bgpd says of a session, as plain values. */
export type PeerState = {
  readonly address: string;
  /** RFC 4271 §8.2.2: Idle, Connect, Active, OpenSent, OpenConfirm, Established. */
  readonly state: string;
  readonly established: boolean;
  /** Milliseconds since the epoch; undefined while it is not up. FRR tells it in whole seconds. */
  readonly upSince: number | undefined;
  /** Milliseconds since the epoch: when it went down last, or bgpd began. */
  readonly resetAt: number;
  /** Prefixes of all families that passed the filters. */
  readonly accepted: number;
  /** Of a peer with `accept`. */
  readonly refused?: Refused;
  readonly sent: number;
  /** How often the session went down since bgpd knows the peer. */
  readonly drops: number;
  /** Why it is not up: a sentence for people. Undefined while it is. */
  readonly problem: string | undefined;
};

/**
 * What the policy of a peer refused since bgpd has it. FRR keeps nothing of such prefixes, so one that was told twice counts twice, and one that was
 * taken back still counts.
 */
export type Refused = { readonly prefixes: number; readonly hasDefault: boolean };

/** What bfdd says of a session. */
export type BfdState = {
  readonly peer: string;
  readonly up: boolean;
  readonly diagnostic: string | undefined;
  /** After how long without a packet the peer is gone, as both sides agreed. */
  readonly detectionMs: number;
};

/** What to ask bgpd, and what `parsePeers` reads. */
export const SHOW_PEERS = 'show bgp neighbors json';
/** What to ask bgpd, and what `parseRefused` reads. */
export const SHOW_POLICIES = 'show route-map json';
/** What to ask bfdd, and what `parseBfd` reads. */
export const SHOW_BFD = 'show bfd peers json';

/** Codes of notifications (RFC 4271 §6, RFC 4486, RFC 9384) that a person can do something about. */
const REASONS: { readonly [code: string]: string } = {
  '0202': 'the AS number is not the one that the other side expects',
  '0203': 'both sides have the same router id',
  '0206': 'the hold time is not acceptable',
  '0400': 'nothing was heard within the hold time',
  '0601': 'more prefixes than the maximum',
  '0602': 'shut down by an administrator',
  '0603': 'the peer is not configured any more',
  '0605': 'the connection was rejected',
  '060a': 'BFD found the peer gone',
};

/** The problem of a peer that nothing is to come of. */
export const HELD_DOWN = 'held down by its configuration';

const MAX_PREFIXES = '0601';
/** The problem of a peer whose session this side ended for its `maxPrefixes`. */
export const TOO_MANY = `this side ended it: ${REASONS[MAX_PREFIXES]} (maxPrefixes): it is let in again when that is raised, or after ${RETRY_AFTER_MAX_PREFIXES_MIN} minutes`;

/** FRR's words for a session that never came so far as to exchange a message. */
const UNANSWERED = new Set([
  'Waiting for peer OPEN',
  'Waiting for NHT',
  'No AFI/SAFI activated for peer',
  'Waiting for VRF',
]);

/** Cease, other configuration change (RFC 4486): the session ended for the change, and what came since is why it is not up again. */
const OWN_CHANGE = '0606';

type Json = { readonly [key: string]: unknown };

/** Error: `protocol`. `nowMs`: when the answer came. */
export function parsePeers(text: string, nowMs: number): PeerState[] {
  const peers: PeerState[] = [];
  for (const [address, value] of Object.entries(objectOf(parse(text)))) {
    // Beside the neighbors stand words about the instance (`vrfId` and the like).
    if (isObject(value) && typeof value.bgpState === 'string') peers.push(peerState(address, value, nowMs));
  }
  return peers;
}

function peerState(address: string, peer: Json, nowMs: number): PeerState {
  const families = Object.values(objectOf(peer.addressFamilyInfo)).filter(isObject);
  const sum = (name: string): number => families.reduce((n, family) => n + numberOf(family[name]), 0);
  const state = textOf(peer.bgpState) ?? '';
  const established = state === 'Established';
  return {
    address,
    state,
    established,
    upSince: established ? nowMs - numberOf(peer.bgpTimerUpMsec) : undefined,
    resetAt: nowMs - numberOf(peer.lastResetTimerMsecs),
    accepted: sum('acceptedPrefixCounter'),
    sent: sum('sentPrefixCounter'),
    drops: numberOf(peer.connectionsDropped),
    problem: established ? undefined : problemOf(peer),
  };
}

function problemOf(peer: Json): string {
  if (peer.adminShutDown === true) return HELD_DOWN;
  const due = textOf(peer.lastResetDueTo);
  const code = textOf(peer.lastErrorCodeSubcode)?.toLowerCase();
  const isOwnChange = code === OWN_CHANGE && due?.endsWith('send');
  if (code !== undefined && due?.startsWith('BGP Notification') && !isOwnChange) {
    if (code === MAX_PREFIXES && due.endsWith('send')) return TOO_MANY;
    const who = due.endsWith('received') ? 'the peer' : 'this side';
    return `${who} ended it: ${REASONS[code] ?? textOf(peer.lastNotificationReason) ?? `notification ${code}`}`;
  }
  if (due === undefined || isOwnChange || UNANSWERED.has(due))
    return 'the peer does not answer: it is down, out of reach, or has another password';
  return due;
}

/** By the names of route maps that `inwards` made. Error: `protocol`. */
export function parseRefused(text: string): ReadonlyMap<string, Refused> {
  const refused = new Map<string, Refused>();
  // By daemons, of which only the one that was asked answers.
  for (const maps of Object.values(objectOf(parse(text))))
    for (const [name, map] of Object.entries(objectOf(maps))) {
      const { rules } = objectOf(map);
      const countOf = (sequence: number): number =>
        (Array.isArray(rules) ? rules.filter(isObject) : [])
          .filter(({ sequenceNumber }) => sequenceNumber === sequence)
          .reduce((sum, { invoked }) => sum + numberOf(invoked), 0);
      const ofDefault = countOf(INWARDS.refusedDefault);
      refused.set(name, { prefixes: ofDefault + countOf(INWARDS.refused), hasDefault: ofDefault > 0 });
    }
  return refused;
}

/** Of a peer whose call this side refuses, with the code of its notification. */
export function refusalOf(code: string): string {
  return `the peer calls, and this side refuses it: ${REASONS[code] ?? `notification ${code}`}`;
}

/** Error: `protocol`. */
export function parseBfd(text: string): BfdState[] {
  const value = parse(text);
  if (!Array.isArray(value)) throw new WeftError('protocol', 'bfdd answered no list');
  return value.filter(isObject).map((session) => {
    const diagnostic = textOf(session.diagnostic);
    return {
      peer: textOf(session.peer) ?? '',
      up: session.status === 'up',
      diagnostic: diagnostic === 'ok' ? undefined : diagnostic,
      // The peer's multiplier times the slower of its sending and our receiving (RFC 5880 §6.8.4).
      detectionMs:
        numberOf(session['remote-detect-multiplier']) *
        Math.max(numberOf(session['receive-interval']), numberOf(session['remote-transmit-interval'])),
    };
  });
}

/** TCP segments that were dropped for their MD5 signature, from `/proc/<pid>/net/netstat` of a process in the namespace. */
export function md5Failures(netstat: string): number {
  const rows = netstat.split('\n').filter((row) => row.startsWith('TcpExt:'));
  const names = rows[0]?.split(' ') ?? [];
  const values = rows[1]?.split(' ') ?? [];
  const counters = ['TCPMD5NotFound', 'TCPMD5Unexpected', 'TCPMD5Failure'];
  return counters.reduce((sum, name) => sum + (Number(values[names.indexOf(name)]) || 0), 0);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new WeftError('protocol', `FRR answered no JSON: ${text.slice(0, 80)}`, { cause });
  }
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
function objectOf(value: unknown): Json {
  return isObject(value) ? value : {};
}
function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}
function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
