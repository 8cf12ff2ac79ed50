import { describe } from '../describe.ts';
import type { ModelIndex } from '../model-index.ts';
import type { Vtep, VtepBinding } from '../objects.ts';
import type { Problem } from '../problem.ts';
import { checkOutsidePort, isOfOneVlan, type Report } from './outsides.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';

/** Each VLAN of a physical port leads to one binding, each VNI to one, and each VTEP can send to all of its places. */
export const checkVteps: Rule = (index, changes, report) => {
  const checked = new Set<string>();
  const once = <T extends Vtep | VtepBinding>(objects: Iterable<T>, check: (object: T) => void): void => {
    for (const object of objects) {
      if (checked.has(object.id)) continue;
      checked.add(object.id);
      check(object);
    }
  };
  const checkBindings = (bindings: Iterable<VtepBinding>): void =>
    once(bindings, (binding) => checkBinding(index, binding, report));
  for (const { before, after } of written(changes, 'vtep')) {
    once([after], () => checkVtep(index, after, report));
    if (before?.physicalPorts.some((port) => !after.physicalPorts.includes(port)))
      checkBindings(index.bindingsOfVtep(after.id));
  }
  for (const { after } of written(changes, 'vtepBinding')) checkBindings([after]);
  for (const { before, after } of written(changes, 'port')) if (before) checkBindings(bindingsOfPort(index, after.id));
  for (const { before, after } of written(changes, 'host'))
    if (before) once(index.vtepsAt(after.id), (vtep) => checkVtep(index, vtep, report));
  for (const { before, after } of written(changes, 'switch'))
    if (before && before.vlanAware !== after.vlanAware)
      for (const binding of index.all('vtepBinding'))
        if (index.get('port', binding.port)?.switch === after.id) checkBindings([binding]);
};

function* bindingsOfPort(index: ModelIndex, port: string): Iterable<VtepBinding> {
  for (const outside of index.outsidesOfPort(port)) if (outside.kind === 'vtepBinding') yield outside;
}

function reporter(index: ModelIndex, object: Vtep | VtepBinding, report: (problem: Problem) => void): Report {
  return (path, code, message, hint) =>
    report({ object: describe(index, object), path, code, message, ...(hint === undefined ? {} : { hint }) });
}

function checkVtep(index: ModelIndex, vtep: Vtep, report: (problem: Problem) => void): void {
  const problem = reporter(index, vtep, report);
  for (const other of index.all('vtep'))
    if (
      other.id !== vtep.id &&
      other.management === vtep.management &&
      (other.physicalSwitch === undefined ||
        vtep.physicalSwitch === undefined ||
        other.physicalSwitch === vtep.physicalSwitch)
    )
      problem(
        'management',
        'management',
        `${describe(index, other)} is managed at ${vtep.management}`,
        'where one database has several switches, each names its own in physicalSwitch',
      );
  for (const [at, place] of vtep.places.entries()) {
    const host = index.get('host', place.host);
    if (vtep.places.findIndex((other) => other.host === place.host) !== at)
      problem(`places[${at}].host`, 'ambiguous', `host ${host?.name ?? place.host} has a place already`);
    if (host && place.address === undefined && host.tunnelAddress.includes(':'))
      problem(
        `places[${at}].address`,
        'ip-version',
        `is missing: host ${host.name} has its tunnels at ${host.tunnelAddress}, and VTEPs send to IPv4 addresses`,
      );
  }
}

function checkBinding(index: ModelIndex, binding: VtepBinding, report: (problem: Problem) => void): void {
  const problem = reporter(index, binding, report);
  const vtep = index.get('vtep', binding.vtep);
  const port = index.get('port', binding.port);
  if (port) {
    checkOutsidePort(index, binding, port, problem);
    if (!isOfOneVlan(index, port))
      problem('port', 'vlan', `${describe(index, port)} is no access port, and frames of a VTEP have no tag inside`);
  }
  if (!vtep) return;
  for (const other of index.bindingsOfVtep(vtep.id)) {
    if (other.id === binding.id) continue;
    // Whose binding it is, is the other tenant's to know.
    const whose = other.tenant === binding.tenant ? describe(index, other) : "another tenant's binding";
    if (other.vni === binding.vni)
      problem('vni', 'duplicate-vni', `${whose} has VNI ${binding.vni} of VTEP ${vtep.name}`);
    for (const [at, own] of binding.physicalPorts.entries())
      if (other.physicalPorts.some((its) => its.port === own.port && its.vlan === own.vlan))
        problem(
          `physicalPorts[${at}]`,
          'physical-port',
          `${whose} has ${own.port} ${vlanText(own.vlan)} on VTEP ${vtep.name}`,
        );
  }
  for (const [at, own] of binding.physicalPorts.entries()) {
    if (binding.physicalPorts.findIndex((each) => each.port === own.port && each.vlan === own.vlan) !== at)
      problem(`physicalPorts[${at}]`, 'ambiguous', `${own.port} ${vlanText(own.vlan)} is there already`);
    if (!vtep.physicalPorts.includes(own.port))
      problem(
        `physicalPorts[${at}].port`,
        'physical-port',
        `${own.port} of VTEP ${vtep.name} is not for bindings`,
        "name it in the VTEP's physicalPorts",
      );
  }
}

function vlanText(vlan: number): string {
  return vlan === 0 ? 'without a tag' : `with VLAN ${vlan}`;
}
