import type { ModelSketch } from './generate.ts';
import { type GroupRuleSketch, SET_MEMBERS } from './generate-routed.ts';
import { generatedId, ofTenant } from './generated.ts';
import type { GroupRule, ScopeRecord } from './objects.ts';

/** Groups and sets: before the chains and ports that name them. */
export function buildGroups({ network, tenants = 2 }: ModelSketch, records: ScopeRecord[]): void {
  if (!network) return;
  for (const [n, set] of network.sets.entries())
    records.push({
      kind: 'addressSet',
      id: generatedId('addressSet', n),
      name: `set-${n}`,
      tenant: generatedId('tenant', n % tenants),
      revision: 1,
      addresses: [...new Set(set.map((index) => SET_MEMBERS[index]!))],
      key: 4100 + n,
    });
  for (const [n, { ingress, egress }] of network.groups.entries()) {
    const build = ({ match, group, set }: GroupRuleSketch): GroupRule => {
      const [remote, members] = [
        ofTenant(tenants, network.groups.length, n % tenants, group),
        ofTenant(tenants, network.sets.length, n % tenants, set),
      ];
      if (remote !== undefined) return { ...match, group: generatedId('securityGroup', remote) };
      return members === undefined ? { ...match } : { ...match, addressSet: generatedId('addressSet', members) };
    };
    records.push({
      kind: 'securityGroup',
      id: generatedId('securityGroup', n),
      name: `group-${n}`,
      tenant: generatedId('tenant', n % tenants),
      revision: 1,
      ingress: ingress.map(build),
      egress: egress ? egress.map(build) : [{}],
      key: 4000 + n,
    });
  }
}
