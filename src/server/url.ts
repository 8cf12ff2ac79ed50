import { WeftError } from '../base/errors.ts';

/** Where a server listens, or is reached. */
export type ServerUrl =
  | { readonly scheme: 'unix'; readonly path: string }
  | { readonly scheme: 'tcp' | 'tls'; readonly host: string; readonly port: number };

/** `unix:/path`, `tcp:host:port`, `tls:[::1]:port`; `http://` and `https://` mean tcp and tls. Throws `invalid`. */
export function parseServerUrl(text: string): ServerUrl {
  if (text.startsWith('unix:/')) return { scheme: 'unix', path: text.slice('unix:'.length) };
  const match = /^(tcp:|tls:|http:\/\/|https:\/\/)(?:\[([0-9a-fA-F:.]+)\]|([^:/[\]]+)):(\d{1,5})\/?$/.exec(text);
  const port = Number(match?.[4]);
  if (!match || port > 65535)
    throw new WeftError(
      'invalid',
      `"${text}" is no server address; write unix:/path, tcp:127.0.0.1:7070 or tls:server.example:7443`,
    );
  const scheme = match[1] === 'tls:' || match[1] === 'https://' ? 'tls' : 'tcp';
  return { scheme, host: (match[2] ?? match[3])!, port };
}

export function formatServerUrl(url: ServerUrl): string {
  if (url.scheme === 'unix') return `unix:${url.path}`;
  return `${url.scheme}:${url.host.includes(':') ? `[${url.host}]` : url.host}:${url.port}`;
}

/** 127.0.0.0/8, ::1 and the name localhost. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}
