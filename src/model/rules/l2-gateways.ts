import { describe } from '../describe.ts';
import type { ModelIndex } from '../model-index.ts';
import type { L2Gateway } from '../objects.ts';
import type { Problem } from '../problem.ts';
import { checkOutsidePort, isOfOneVlan, type Report } from './outsides.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';

/** The outside is a port that learns, and each VLAN of an interface leads to one gateway. */
export const checkL2Gateways: Rule = (index, changes, report) => {
  const checked = new Set<string>();
  const check = (gateways: Iterable<L2Gateway>): void => {
    for (const gateway of gateways) {
      if (checked.has(gateway.id)) continue;
      checked.add(gateway.id);
      checkGateway(index, gateway, report);
    }
  };
  for (const { after } of written(changes, 'l2Gateway')) check([after]);
  for (const { before, after } of written(changes, 'port')) if (before) check(gatewaysOfPort(index, after.id));
  for (const { before, after } of written(changes, 'host')) if (before) check(index.l2GatewaysAt(after.id));
  for (const { before, after } of written(changes, 'switch'))
    if (before && before.vlanAware !== after.vlanAware)
      for (const gateway of index.all('l2Gateway'))
        if (index.get('port', gateway.port)?.switch === after.id) check([gateway]);
};

function* gatewaysOfPort(index: ModelIndex, port: string): Iterable<L2Gateway> {
  for (const outside of index.outsidesOfPort(port)) if (outside.kind === 'l2Gateway') yield outside;
}

function checkGateway(index: ModelIndex, gateway: L2Gateway, report: (problem: Problem) => void): void {
  const problem: Report = (path, code, message, hint) =>
    report({ object: describe(index, gateway), path, code, message, ...(hint === undefined ? {} : { hint }) });
  const port = index.get('port', gateway.port);
  if (port) {
    checkOutsidePort(index, gateway, port, problem);
    const device = index.get('switch', port.switch);
    if (gateway.vlan === undefined && device && !device.vlanAware)
      problem('vlan', 'vlan', `is missing: ${describe(index, device)} is not VLAN-aware, a trunk cannot join it`);
    if (gateway.vlan !== undefined && !isOfOneVlan(index, port))
      problem('vlan', 'vlan', `frames of one VLAN have no tag inside, and ${describe(index, port)} is no access port`);
  }
  for (const [at, place] of gateway.places.entries()) {
    const host = index.get('host', place.host);
    if (gateway.places.findIndex((other) => other.host === place.host) !== at)
      problem(`places[${at}].host`, 'ambiguous', `host ${host?.name ?? place.host} has a place already`);
    if (!host) continue;
    const path = `places[${at}].interface`;
    if (!host.gatewayInterfaces?.includes(place.interface)) {
      const message = `${place.interface} of host ${host.name} is not for L2 gateways`;
      problem(path, 'interface', message, "name it in the host's gatewayInterfaces");
    }
    for (const other of index.l2GatewaysAt(host.id)) {
      const isSame = other.places.some((its) => its.host === host.id && its.interface === place.interface);
      const isMet = other.vlan === gateway.vlan || other.vlan === undefined || gateway.vlan === undefined;
      if (other.id === gateway.id || !isSame || !isMet) continue;
      const what = other.vlan === undefined ? 'all VLANs' : `VLAN ${other.vlan}`;
      // Whose gateway it is, is the other tenant's to know.
      const whose = other.tenant === gateway.tenant ? describe(index, other) : "another tenant's gateway";
      problem(path, 'interface', `${whose} has ${what} of ${place.interface} on host ${host.name}`);
    }
  }
}
