import type { ScopeRecord } from '../../model/objects.ts';
import type { Report } from '../../server/protocol.ts';
import type { Ground } from '../ground.ts';
import { Interfaces } from '../interfaces.ts';
import { Scope } from '../scope.ts';

/** What a part of the core stands on, for tests of that part alone: records and reports are kept, flows are not made. */
export interface TestGround extends Ground {
  readonly reports: Report[];
  put(...records: unknown[]): void;
}

/** A port id that interfaces may claim. */
export function portId(number: number): string {
  return `1a2b3c4d-0000-4000-8000-${String(number).padStart(12, '0')}`;
}

/** Host `h1`, with `ports` plugged in as OpenFlow ports 101, 102, …; records may be as incomplete as the test allows. */
export function testGround(records: readonly unknown[], ports: readonly string[] = []): TestGround {
  const scope = new Scope();
  const interfaces = new Interfaces();
  const reports: Report[] = [];
  for (const [i, port] of ports.entries())
    interfaces.put({ uuid: `u${i}`, name: `tap${i}`, ofport: 101 + i, ifaceId: port, markedInstalled: true });
  interfaces.rebind(() => undefined);
  const put = (...more: unknown[]): void =>
    scope.apply((more as ScopeRecord[]).map((record) => ({ op: 'put', record })));
  put(...records);
  return {
    ...{ scope, interfaces, reports, put, host: 'h1', serverConnected: true, problems: new Map() },
    compile: () => [],
    overlay: (record) => {
      put(record);
      return [];
    },
    report: (more) => {
      reports.push(...more);
      return [];
    },
    reportStates: () => [],
  };
}
