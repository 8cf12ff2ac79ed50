import type { KindName } from './kind.ts';
import { KINDS } from './kinds.ts';
import type { AnyObject } from './objects.ts';
import { replaceTextsAt } from './paths.ts';
import type { ModelView } from './view.ts';

/** Where names are looked up. */
export type Names = Pick<ModelView, 'get'>;

/** An object as a person names it: `port acme/web-1`, `rule acme/web-in/allow-ssh`, `host h1`. */
export function describe(view: Names, object: AnyObject): string {
  return `${object.kind} ${qualifiedName(view, object)}`;
}

/** The name with what it is unique within: `acme/web-1`; a reference may be written so. */
export function qualifiedName(view: Names, object: AnyObject): string {
  const tenant = object.tenant === undefined ? undefined : (view.get('tenant', object.tenant)?.name ?? object.tenant);
  return [tenant, containerName(view, object), object.name].filter((part) => part !== undefined).join('/');
}

/** The name of what the object's name is unique within, where that is not its tenant. */
export function containerName(view: Names, object: AnyObject): string | undefined {
  if (object.kind === 'rule') return view.get('chain', object.chain)?.name ?? object.chain;
  if (object.kind !== 'routerPort' && object.kind !== 'bgpPeer') return undefined;
  return view.get('router', object.router)?.name ?? object.router;
}

/** How an object of `tenant` would write the reference: the target's name, with its tenant where that is another. */
export function referenceName(view: Names, kind: KindName, id: string, tenant: string | undefined): string {
  const target = view.get(kind, id);
  if (!target) return id;
  if (target.kind === 'routerPort' && target.tenant === tenant) return `${containerName(view, target)}/${target.name}`;
  return target.tenant === undefined || target.tenant === tenant ? target.name : qualifiedName(view, target);
}

/** The object with its references as its tenant would write them; its tenant stays an id. */
export function withReferenceNames<T extends AnyObject>(view: Names, object: T): T {
  let named = object;
  for (const { path, kind } of KINDS[object.kind].references)
    named = replaceTextsAt(named, path, (id) => referenceName(view, kind, id, object.tenant));
  return named;
}
