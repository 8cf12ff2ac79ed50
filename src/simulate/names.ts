import type { ModelView } from '../model/view.ts';
import type { ObjectRef } from './outcome.ts';

/** As people call it: router ports within their router, as `edge/inside`. */
export function nameOf(model: Pick<ModelView, 'get'>, { kind, id }: ObjectRef): string {
  const object = model.get(kind, id);
  if (!object) return id;
  if (object.kind !== 'routerPort') return object.name;
  return `${model.get('router', object.router)?.name ?? object.router}/${object.name}`;
}
