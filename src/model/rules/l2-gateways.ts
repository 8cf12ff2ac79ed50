import { describe } from '../describe.ts';
import type { L2Gateway, LogicalPort } from '../objects.ts';
import type { Problem, ProblemCode } from '../problem.ts';
import type { ModelIndex } from '../view.ts';
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
  for (const { before, after } of written(changes, 'port')) if (before) check(index.l2GatewaysOfPort(after.id));
  for (const { before, after } of written(changes, 'host')) if (before) check(index.l2GatewaysAt(after.id));
  for (const { before, after } of written(changes, 'switch'))
    if (before && before.vlanAware !== after.vlanAware)
      for (const gateway of index.all('l2Gateway'))
        if (index.get('port', gateway.port)?.switch === after.id) check([gateway]);
};

type Report = (path: string, code: ProblemCode, message: string, hint?: string) => void;

function checkGateway(index: ModelIndex, gateway: L2Gateway, report: (problem: Problem) => void): void {
  const problem: Report = (path, code, message, hint) =>
    report({ object: describe(index, gateway), path, code, message, ...(hint === undefined ? {} : { hint }) });
  const port = index.get('port', gateway.port);
  if (port) checkPort(index, gateway, port, problem);
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

function checkPort(index: ModelIndex, gateway: L2Gateway, port: LogicalPort, problem: Report): void {
  const named = describe(index, port);
  if (port.portSecurity)
    problem(
      'port',
      'l2-port',
      `${named} has port security`,
      'set its portSecurity to false: the outside has many MACs',
    );
  if (port.host !== undefined)
    problem(
      'port',
      'l2-port',
      `${named} names a host`,
      'leave its host out: the places of the gateway say where it is',
    );
  for (const other of index.l2GatewaysOfPort(port.id))
    if (other.id !== gateway.id) problem('port', 'l2-port', `${named} is the outside of ${describe(index, other)}`);
  const device = index.get('switch', port.switch);
  if (!device) return;
  if (gateway.vlan === undefined && !device.vlanAware)
    problem('vlan', 'vlan', `is missing: ${describe(index, device)} is not VLAN-aware, a trunk cannot join it`);
  if (gateway.vlan !== undefined && device.vlanAware && !(port.vlan && 'access' in port.vlan))
    problem('vlan', 'vlan', `frames of one VLAN have no tag inside, and ${named} is no access port`);
}
