import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { WeftError } from '../base/errors.ts';
import type { AnyObject } from '../model/objects.ts';
import { type Client, createClient } from '../server/client.ts';
import { problemsOf } from '../server/problem.ts';
import { type Context, contextFilePath, currentContext, DEFAULT_SERVER } from './contexts.ts';
import { type CliKind, entryOf } from './kinds.ts';
import { readSecret } from './secret-file.ts';

/** One command's conversation with the server. */
export interface Session {
  readonly client: Client;
  readonly context: Context;
  /** The tenant that names without one belong to; undefined for all. */
  readonly tenant: string | undefined;
  /** The tenant was typed with this command; it is not only the context's. */
  readonly isTenantTyped: boolean;
}

/** Options that `main.ts` gives every command. */
interface GlobalOptions {
  readonly context?: string;
  readonly server?: string;
  readonly tenant?: string;
}

/** Connects as the context says, runs the command, and lets go of the connection. */
export async function withSession<T>(command: Command, work: (session: Session) => Promise<T>): Promise<T> {
  const options = command.optsWithGlobals<GlobalOptions>();
  const context = currentContext(options);
  const client = createClient({
    url: context.server,
    ...(context.tokenFile === undefined ? {} : { token: readSecret(context.tokenFile, 'token') }),
    ...(context.caFile === undefined ? {} : { ca: readSecret(context.caFile, 'CA certificate') }),
  });
  try {
    return await work({
      client,
      context,
      tenant: options.tenant ?? context.tenant,
      isTenantTyped: options.tenant !== undefined,
    });
  } catch (error) {
    throw explained(error, context);
  } finally {
    client.close();
  }
}

/** What to do about it, where the error alone leaves one standing there; all problems of a refused write. */
function explained(error: unknown, context: Context): unknown {
  if (!(error instanceof WeftError)) return error;
  if (error.code === 'unreachable') {
    const isUnset = context.server === DEFAULT_SERVER && !existsSync(contextFilePath());
    const hint = isUnset
      ? "start one with 'weft server run' or a whole lab with 'weft lab up FILE', or name yours: --server, WEFT_SERVER, 'weft context set'"
      : "is it running? 'weft context list' shows where commands go";
    return new WeftError(error.code, `${error.message}; ${hint}`, { cause: error });
  }
  const problems = problemsOf(error);
  if (problems.length < 2) return error;
  const lines = problems.map(
    (p) => `  ${p.object}${p.path ? ` ${p.path}` : ''}: ${p.message}${p.hint ? ` (${p.hint})` : ''}`,
  );
  return new WeftError(error.code, `${problems.length} problems, nothing was written:\n${lines.join('\n')}`, {
    details: error.details,
    cause: error,
  });
}

/** An object as the server shows it: references as names with `?names=true`, and what agents report. */
export type ShownObject = Omit<AnyObject, 'status'> & {
  readonly status?: Readonly<Record<string, unknown>>;
} & Readonly<Record<string, unknown>>;

/** `port acme/web-1`, as people write it. */
export function titleOf(object: Readonly<Record<string, unknown>>): string {
  const kind = entryOf(object.kind as AnyObject['kind']);
  const tenant = kind.tenantOwned && typeof object.tenant === 'string' ? `${object.tenant}/` : '';
  const container = kind.nameWithin === undefined ? undefined : object[kind.nameWithin];
  return `${kind.kind} ${tenant}${typeof container === 'string' ? `${container}/` : ''}${String(object.name)}`;
}

/** What a person typed for an object: `name`, `tenant/name`, an id, or a unique prefix of an id. */
export function splitName(
  text: string,
  session: Pick<Session, 'tenant'>,
): { readonly name: string; readonly tenant?: string } {
  const slash = text.indexOf('/');
  if (slash > 0) return { tenant: text.slice(0, slash), name: text.slice(slash + 1) };
  return { name: text, ...(session.tenant === undefined ? {} : { tenant: session.tenant }) };
}

/** The same for what is named within another object: `router/port`, or `tenant/router/port`. */
function splitNameWithin(text: string, session: Pick<Session, 'tenant'>): ReturnType<typeof splitName> {
  if (text.split('/').length > 2) return splitName(text, session);
  return { name: text, ...(session.tenant === undefined ? {} : { tenant: session.tenant }) };
}

/** The path of one object in the API, with the query that tells which is meant. */
export function objectPath(
  kind: CliKind,
  text: string,
  session: Pick<Session, 'tenant'>,
): { readonly path: string; readonly query: Readonly<Record<string, string>> } {
  const { name, tenant } = kind.nameWithin === undefined ? splitName(text, session) : splitNameWithin(text, session);
  return {
    path: `/v1/${kind.plural}/${encodeURIComponent(name)}`,
    query: kind.tenantOwned && tenant !== undefined ? { tenant } : {},
  };
}

/** A request to the agent of a host, carried by the server. */
export function hostAgentPath(host: string, path: string): string {
  return `/v1/hosts/${encodeURIComponent(host)}/agent${path}`;
}
