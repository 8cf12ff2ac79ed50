import { type ErrorCode, WeftError } from '../base/errors.ts';

/** A command line that cannot be meant: exit 2. */
export class UsageError extends WeftError {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super('invalid', message, options);
    this.name = 'UsageError';
  }
}

/** What the exit code of every command means; scripts rely on it. */
export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  notFound: 3,
  conflict: 4,
  denied: 5,
  unreachable: 6,
  /** The thing works, but not all of it; or the traced packet is dropped. */
  degraded: 7,
  timeout: 124,
} as const;

const OF_CODE: Readonly<Partial<Record<ErrorCode, number>>> = {
  'not-found': EXIT.notFound,
  conflict: EXIT.conflict,
  denied: EXIT.denied,
  unreachable: EXIT.unreachable,
  closed: EXIT.unreachable,
  timeout: EXIT.timeout,
  invalid: EXIT.failure,
};

export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT.usage;
  return error instanceof WeftError ? (OF_CODE[error.code] ?? EXIT.failure) : EXIT.failure;
}
