/**
 * The three kinds of failure that code outside a function can meet.
 * A bug asserts; bad bytes are a `DecodeError`; everything operational is a `WeftError` with a code of the table below.
 */

/** Why bytes could not be decoded; names are stable because counters use them. */
export type DecodeCode =
  | 'truncated' // fewer bytes than the structure needs
  | 'bad-length' // a length field that contradicts what surrounds it
  | 'bad-value' // a value that the specification forbids
  | 'bad-checksum'
  | 'bad-version'
  | 'bad-type' // an unknown type where it cannot be preserved
  | 'too-deep' // nesting beyond what any sender needs
  | 'bad-padding'
  | 'bad-text'; // text (OVSDB JSON, ovs-ofctl syntax) that does not parse

/** Bad bytes (or text) from outside. `offset` counts bytes (or characters) from the start of the message. */
export class DecodeError extends Error {
  readonly code: DecodeCode;
  readonly offset: number;
  readonly field: string;

  constructor(code: DecodeCode, offset: number, field: string, detail?: string) {
    super(`${field}: ${code} at offset ${offset}${detail ? ` (${detail})` : ''}`);
    this.name = 'DecodeError';
    this.code = code;
    this.offset = offset;
    this.field = field;
  }
}

/** The one table of operational error codes: what it means, and whether trying again can help. */
export const ERROR_CODES = {
  aborted: { retryable: false, meaning: 'the caller gave up (AbortSignal)' },
  busy: { retryable: true, meaning: 'the other side has too much to do' },
  closed: { retryable: true, meaning: 'the connection was closed' },
  compacted: { retryable: true, meaning: 'the revision asked for is gone; read everything again' },
  conflict: { retryable: false, meaning: 'a precondition does not hold' },
  denied: { retryable: false, meaning: 'not allowed' },
  full: { retryable: true, meaning: 'no room: disk, table, or key space' },
  invalid: { retryable: false, meaning: 'the request is not valid' },
  'not-found': { retryable: false, meaning: 'no such object' },
  protocol: { retryable: false, meaning: 'the peer broke the protocol' },
  refused: { retryable: false, meaning: 'the peer answered with an error of its own' },
  timeout: { retryable: true, meaning: 'no answer in time' },
  unreachable: { retryable: true, meaning: 'no connection could be made' },
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/** An operational failure. `message` says what, where and how to mend it. */
export class WeftError extends Error {
  readonly code: ErrorCode;
  /** What the failure says beyond its text: for example the problems of a refused write, or a switch's error. */
  readonly details: unknown;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; details?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'WeftError';
    this.code = code;
    this.details = options.details;
  }

  get retryable(): boolean {
    return ERROR_CODES[this.code].retryable;
  }
}

/** A bug when it fails: the process should not go on with a state it does not understand. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}

/** For the default of an exhaustive switch. */
export function unreachable(value: never): never {
  throw new Error(`assertion failed: unexpected ${JSON.stringify(value)}`);
}
