import { connect as connectTcp } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls, createSecureContext, type SecureContextOptions } from 'node:tls';
import { WeftError } from '../base/errors.ts';

/** Where a database is, in the notation of ovs-vsctl's `--db` (ovsdb(7), Connection Methods). */
export type OvsdbAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp' | 'ssl'; readonly host: string; readonly port: number };

/** Certificates for `ssl:`; PEM texts. */
export interface OvsdbTls {
  /** Whom the server's certificate must come from. */
  readonly ca: string | Uint8Array;
  readonly cert?: string | Uint8Array;
  readonly key?: string | Uint8Array;
  /**
   * The name that the server's certificate must carry. Left out, any certificate from `ca` will do, as with Open
   * vSwitch's own tools: the certificates that ovs-pki makes name roles and not hosts.
   */
  readonly serverName?: string;
}

const DEFAULT_PORT = 6640;

/** `unix:PATH`, `tcp:HOST[:PORT]`, `ssl:HOST[:PORT]`; IPv6 in brackets. Throws `WeftError('invalid')`. */
export function parseOvsdbAddress(text: string): OvsdbAddress {
  if (text.startsWith('unix:') && text.length > 5) return { kind: 'unix', path: text.slice(5) };
  const match = /^(tcp|ssl):(?:\[([0-9a-fA-F:.%a-z]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text);
  const port = match?.[4] === undefined ? DEFAULT_PORT : Number(match[4]);
  if (!match || port < 1 || port > 65535)
    throw new WeftError('invalid', `'${text}' is not an OVSDB address: unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]`);
  return { kind: match[1] as 'tcp' | 'ssl', host: (match[2] ?? match[3])!, port };
}

/** Throws `WeftError('invalid')` where there is no authority, or something is no certificate or key. */
export function checkTls(tls: OvsdbTls | undefined): void {
  if (!tls) throw new WeftError('invalid', "'ssl:' needs the certificate authority (tls.ca)");
  try {
    createSecureContext(material(tls));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new WeftError('invalid', `the certificates for 'ssl:' cannot be used: ${why}`, { cause: error });
  }
}

function material({ ca, cert, key }: OvsdbTls): SecureContextOptions {
  return { ca: Buffer.from(ca), ...(cert && { cert: Buffer.from(cert) }), ...(key && { key: Buffer.from(key) }) };
}

/** Resolves once connected (and for `ssl:` once the certificates are verified). Throws `WeftError('unreachable' | 'aborted')`. */
export function openOvsdbStream(
  address: OvsdbAddress,
  options: { readonly tls?: OvsdbTls | undefined; readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<Duplex> {
  const { signal, tls } = options;
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new WeftError('aborted', 'given up before connecting'));
    const stream = start(address, tls);
    const timer = setTimeout(() => fail('unreachable', `no answer in ${options.timeoutMs} ms`), options.timeoutMs);
    const onAbort = (): void => fail('aborted', 'given up while connecting');
    const onError = (error: Error): void => fail('unreachable', error.message, error);
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      stream.removeListener('error', onError);
    };
    const fail = (code: 'unreachable' | 'aborted', why: string, cause?: Error): void => {
      done();
      // A destroyed socket may still report what stopped it.
      stream.on('error', () => {});
      stream.destroy();
      reject(new WeftError(code, `cannot connect to ${formatOvsdbAddress(address)}: ${why}`, { cause }));
    };
    signal.addEventListener('abort', onAbort, { once: true });
    stream.on('error', onError);
    stream.once(address.kind === 'ssl' ? 'secureConnect' : 'connect', () => {
      done();
      resolve(stream);
    });
  });
}

function start(address: OvsdbAddress, tls: OvsdbTls | undefined): Duplex {
  if (address.kind === 'unix') return connectTcp({ path: address.path });
  const { host, port } = address;
  if (address.kind === 'tcp') return connectTcp({ host, port, noDelay: true });
  const { serverName } = tls!;
  const identity = serverName === undefined ? { checkServerIdentity: () => undefined } : { servername: serverName };
  const socket = connectTls({ host, port, ...material(tls!), ...identity });
  return socket.setNoDelay(true);
}

export function formatOvsdbAddress(address: OvsdbAddress): string {
  if (address.kind === 'unix') return `unix:${address.path}`;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return `${address.kind}:${host}:${address.port}`;
}
