import { WeftError } from '../base/errors.ts';
import type { CliKind } from './kinds.ts';
import { nearest } from './output.ts';
import { objectPath, type Session, type ShownObject } from './session.ts';

/** The requests that several commands make. References come as names, and each object with its status. */

export async function listObjects(
  session: Session,
  kind: CliKind,
  filter: Readonly<Record<string, string>> = {},
): Promise<ShownObject[]> {
  const tenant = kind.tenantOwned && session.tenant !== undefined ? { tenant: session.tenant } : {};
  const answer = await session.client.get<{ items: ShownObject[] }>(`/v1/${kind.plural}`, {
    query: { names: true, ...tenant, ...filter },
  });
  return answer.items;
}

/**
 * One object by what a person typed. `whole`: by a name or a whole id only. Error `not-found` with the names that were
 * perhaps meant.
 */
export async function fetchObject(
  session: Session,
  kind: CliKind,
  text: string,
  { whole = false }: { readonly whole?: boolean } = {},
): Promise<ShownObject> {
  const { path, query } = objectPath(kind, text, session);
  const how = whole ? { whole } : {};
  try {
    return await session.client.get<ShownObject>(path, { query: { names: true, ...how, ...query } });
  } catch (error) {
    if (error instanceof WeftError && error.code === 'not-found')
      throw await withSuggestion(error, session, kind, text);
    throw error;
  }
}

/**
 * The object that is going to be changed: the request that changes it names its `id`, since the server takes no
 * beginnings of ids there. People may type them, except with a tenant: then a name is meant, and one that is gone is
 * not to be taken for an id.
 */
export function fetchToChange(session: Session, kind: CliKind, text: string): Promise<ShownObject> {
  return fetchObject(session, kind, text, {
    whole: kind.tenantOwned && (session.isTenantTyped || text.includes('/')),
  });
}

async function withSuggestion(error: WeftError, session: Session, kind: CliKind, text: string): Promise<WeftError> {
  const known = await listObjects({ ...session, tenant: undefined }, kind).catch(() => []);
  const name = text.slice(text.indexOf('/') + 1);
  const titles = new Map(known.map((o) => [kind.tenantOwned ? `${String(o.tenant)}/${o.name}` : o.name, o.name]));
  const same = [...titles].filter(([, own]) => own === name).map(([title]) => title);
  const nearNames = nearest(name, new Set(titles.values()));
  const near =
    same.length > 0 ? same : [...titles].filter(([, own]) => nearNames.includes(own)).map(([title]) => title);
  const of =
    session.tenant !== undefined && kind.tenantOwned && !text.includes('/') ? ` of tenant ${session.tenant}` : '';
  const hint =
    near.length > 0
      ? `; did you mean ${near.slice(0, 3).join(' or ')}?`
      : `; 'weft get ${kind.plural}' lists those there are`;
  return new WeftError('not-found', `there is no ${kind.kind} ${text}${of}${hint}`, { cause: error });
}
