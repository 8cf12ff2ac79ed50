import assert from 'node:assert/strict';
import { WeftError } from '../../base/errors.ts';
import { seededRandom } from '../../base/random.ts';
import { Allocator } from '../../model/allocate.ts';
import { Draft } from '../../model/draft.ts';
import { ModelIndex } from '../../model/model-index.ts';
import type { LogicalPort, ScopeRecord } from '../../model/objects.ts';
import type { Problem } from '../../model/problem.ts';
import { applyObjects, parseApplyRequest } from '../apply.ts';

/** A model that is changed by applying objects; what is refused is taken back. */
export class TrialModel {
  readonly index = new ModelIndex();
  readonly allocator = new Allocator(this.index, seededRandom(1));

  apply(objects: readonly object[], more: object = {}): readonly Problem[] {
    const draft = new Draft(this.index);
    this.allocator.settle();
    try {
      applyObjects({ draft, allocator: this.allocator }, parseApplyRequest({ objects, ...more }));
      for (const { after, before } of draft.changes()) {
        if (before?.kind === 'port' && !after) this.allocator.released(before);
        // As a store would: under a new revision.
        if (after) this.index.put({ ...after, revision: 1 } as ScopeRecord);
      }
      return [];
    } catch (error) {
      draft.rollback();
      this.allocator.rollback();
      if (!(error instanceof WeftError)) throw error;
      return (error.details as { readonly problems: readonly Problem[] }).problems;
    }
  }

  port(name: string): LogicalPort {
    const [port] = this.index.named('port', this.tenant('acme'), name);
    assert.ok(port, `no port ${name}`);
    return port;
  }
  tenant(name: string): string {
    return [...this.index.named('tenant', undefined, name)][0]!.id;
  }
}

/** Two tenants, a host, switches with and without subnets and VLANs, two chains and a port. */
export const BASE = [
  { kind: 'tenant', name: 'acme' },
  { kind: 'tenant', name: 'beta' },
  { kind: 'tunnelZone', name: 'dc' },
  { kind: 'host', name: 'h1', zone: 'dc', tunnelAddress: '10.9.0.1' },
  { kind: 'switch', tenant: 'acme', name: 'lan', subnets: [{ cidr: '10.0.0.0/24', gateway: '10.0.0.1' }] },
  { kind: 'switch', tenant: 'acme', name: 'flat' },
  { kind: 'switch', tenant: 'acme', name: 'trunk', vlanAware: true },
  { kind: 'switch', tenant: 'beta', name: 'lan' },
  { kind: 'chain', tenant: 'acme', name: 'c1' },
  { kind: 'chain', tenant: 'acme', name: 'c2' },
  { kind: 'rule', tenant: 'acme', name: 'r1', chain: 'c1', position: 1, action: 'accept' },
  { kind: 'port', tenant: 'acme', name: 'p1', switch: 'lan', mac: '02:00:00:00:00:01', addresses: ['10.0.0.5'] },
];
