import { describe } from '../describe.ts';
import type { AnyObject } from '../objects.ts';
import { isObject, nameScopeOf } from '../relations.ts';
import type { Rule } from './rule.ts';

/** Fields that cannot change, because others rely on them: a packet on the wire carries the key. */
const IMMUTABLE: { readonly [K in AnyObject['kind']]?: readonly string[] } = {
  switch: ['key'],
  port: ['key', 'switch'],
  chain: ['key'],
  rule: ['chain'],
  router: ['key'],
  routerPort: ['key', 'router'],
  securityGroup: ['key'],
  addressSet: ['key'],
  loadBalancer: ['key', 'router', 'switch'],
  bgpPeer: ['router'],
  l2Gateway: ['port'],
  vtepBinding: ['port', 'vtep'],
};

/** Names are unique within their scope, keys in the whole store, and what identifies an object stays as it is. */
export const checkIdentity: Rule = (index, changes, report) => {
  for (const { before, after } of changes) {
    if (!after || !isObject(after)) continue;
    const object = describe(index, after);
    for (const other of index.named(after.kind, nameScopeOf(after), after.name))
      if (other !== after) {
        report({ object, path: 'name', code: 'name', message: `the name is taken (by ${other.id})` });
        break;
      }
    if ('key' in after)
      for (const other of index.objectsWithKey(after.key))
        if (other !== after) {
          const message = `tunnel key ${after.key} belongs to ${describe(index, other)}`;
          report({ object, path: 'key', code: 'duplicate-key', message });
          break;
        }
    if (!before || !isObject(before)) continue;
    for (const path of ['tenant', ...(IMMUTABLE[after.kind] ?? [])]) {
      const was = (before as unknown as Record<string, unknown>)[path];
      if (was !== (after as unknown as Record<string, unknown>)[path])
        report({
          object,
          path,
          code: 'immutable',
          message: `cannot be changed (from ${String(was)})`,
          hint: `delete the ${after.kind} and create it anew`,
        });
    }
  }
};
