import type { WeftError } from '../base/errors.ts';

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** For everything: waiting for a connection and for the answer. Default 30,000. */
  readonly timeoutMs?: number | undefined;
}

const DEFAULT_TIMEOUT_MS = 30_000;

/**
 * A promise that ends in time: `begin` starts the work and returns what to undo when it is given up, which rejects with
 * what `giveUp` makes of it. Settling twice does nothing.
 */
export function bounded<T>(
  options: CallOptions,
  giveUp: (code: 'timeout' | 'aborted') => WeftError,
  begin: (resolve: (value: T) => void, reject: (error: WeftError) => void) => () => void,
): Promise<T> {
  const { signal, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  return new Promise<T>((resolve, reject) => {
    if (signal?.aborted) return reject(giveUp('aborted'));
    let settled = false;
    const settle = (): boolean => {
      if (settled) return false;
      settled = true;
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      return true;
    };
    const end = (code: 'timeout' | 'aborted'): void => {
      if (!settle()) return;
      const error = giveUp(code);
      undo();
      reject(error);
    };
    const onAbort = (): void => end('aborted');
    const timer = setTimeout(() => end('timeout'), timeoutMs);
    signal?.addEventListener('abort', onAbort, { once: true });
    let undo = (): void => {};
    try {
      undo = begin(
        (value) => settle() && resolve(value),
        (error) => settle() && reject(error),
      );
    } catch (error) {
      settle();
      reject(error);
    }
  });
}
