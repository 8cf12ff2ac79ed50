import type { Duplex } from 'node:stream';
import { DecodeError, WeftError } from '../base/errors.ts';
import type { FrameReader } from './framing.ts';
import { decodeMessage, encodeMessage } from './message.ts';
import type { Hello } from './messages/hello.ts';
import { formatVersion, isOpenFlowVersion, type OpenFlowVersion } from './version.ts';

export interface HandshakeOptions {
  readonly versions: readonly OpenFlowVersion[];
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/**
 * Exchanges hellos (1.3.5 §6.3.1) and agrees on a version. The stream is left paused; `rest` are messages that came
 * with the peer's hello. Rejects with `WeftError`: `protocol` (the peer is told), `timeout`, `closed`, `aborted`.
 */
export async function shakeHands(
  stream: Duplex,
  frames: FrameReader,
  options: HandshakeOptions,
): Promise<{ version: OpenFlowVersion; rest: readonly Uint8Array[] }> {
  const versions = [...options.versions].sort((a, b) => a - b);
  stream.write(encodeMessage({ kind: 'hello', version: Math.max(...versions), xid: 0, versions }));
  const { hello, rest } = await firstMessage(stream, frames, options);
  const version = agree(versions, hello);
  if (version !== undefined) return { version, rest };
  const data = new TextEncoder().encode('no common version');
  stream.end(
    encodeMessage({ kind: 'error', version: hello.version, xid: hello.xid, type: 0, code: 0, name: '', data }),
  );
  throw new WeftError('protocol', `OpenFlow: the peer speaks ${formatVersion(hello.version)}, which we do not`);
}

/** The highest version that both have (1.3.5 §6.3.1); undefined if there is none. */
function agree(
  ours: readonly OpenFlowVersion[],
  hello: Hello & { readonly version: number },
): OpenFlowVersion | undefined {
  const theirs = hello.versions;
  if (theirs) return ours.filter((v) => theirs.includes(v)).sort((a, b) => b - a)[0];
  const lower = Math.min(Math.max(...ours), hello.version);
  return isOpenFlowVersion(lower) && ours.includes(lower) ? lower : undefined;
}

/** Waits for the peer's hello; `rest` are messages that came with it. */
function firstMessage(
  stream: Duplex,
  frames: FrameReader,
  options: HandshakeOptions,
): Promise<{ hello: Hello & { version: number; xid: number }; rest: Uint8Array[] }> {
  const { timeoutMs } = options;
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      clearTimeout(timer);
      stream.off('data', onData).off('error', onError).off('close', onClose);
      options.signal?.removeEventListener('abort', onAbort);
    };
    const fail = (error: WeftError): void => {
      settle();
      stream.on('error', () => {});
      stream.destroy();
      reject(error);
    };
    const onError = (cause: Error): void => fail(new WeftError('closed', `OpenFlow: ${cause.message}`, { cause }));
    const onClose = (): void =>
      fail(new WeftError('closed', 'OpenFlow: the peer closed the connection before its hello'));
    const onAbort = (): void => fail(new WeftError('aborted', 'OpenFlow: aborted', { cause: options.signal?.reason }));
    const timer = setTimeout(() => fail(new WeftError('timeout', `OpenFlow: no hello in ${timeoutMs} ms`)), timeoutMs);
    const onData = (chunk: Uint8Array): void => {
      const received: Uint8Array[] = [];
      try {
        frames.push(chunk, (frame) => received.push(frame));
        if (received.length === 0) return;
        const hello = decodeMessage(received[0]!);
        if (hello.kind !== 'hello')
          return fail(new WeftError('protocol', `OpenFlow: ${hello.kind} in place of a hello`));
        settle();
        // Until the caller listens: what flows with no listener is lost.
        stream.pause();
        resolve({ hello, rest: received.slice(1) });
      } catch (cause) {
        if (!(cause instanceof DecodeError)) throw cause;
        fail(new WeftError('protocol', `OpenFlow: ${cause.message}`, { cause }));
      }
    };
    stream.on('data', onData).on('error', onError).on('close', onClose);
    options.signal?.addEventListener('abort', onAbort, { once: true });
  });
}
