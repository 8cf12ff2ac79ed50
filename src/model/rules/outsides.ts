import { describe } from '../describe.ts';
import type { ModelIndex } from '../model-index.ts';
import type { LogicalPort, Outside } from '../objects.ts';
import type { ProblemCode } from '../problem.ts';

export type Report = (path: string, code: ProblemCode, message: string, hint?: string) => void;

/** The outside is a port that learns, is where agents say, and is the outside of nothing else. */
export function checkOutsidePort(index: ModelIndex, outside: Outside, port: LogicalPort, problem: Report): void {
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
      `leave its host out: the places of the ${outside.kind === 'vtepBinding' ? 'VTEP' : 'gateway'} say where it is`,
    );
  for (const other of index.outsidesOfPort(port.id))
    if (other.id !== outside.id) problem('port', 'l2-port', `${named} is the outside of ${describe(index, other)}`);
}

/** Frames of one VLAN have no tag inside: on a VLAN-aware switch the port says which it is. */
export function isOfOneVlan(index: ModelIndex, port: LogicalPort): boolean {
  return !index.get('switch', port.switch)?.vlanAware || (port.vlan !== undefined && 'access' in port.vlan);
}
