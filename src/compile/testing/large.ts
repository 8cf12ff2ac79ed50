import type { InputRecord } from '../inputs.ts';
import { binding, boundInterface, host, logicalSwitch, port, self, subnet, zone } from './example.ts';

/** A large model as one host sees it, for benchmarks and for tests of cost. */
export interface LargeOptions {
  readonly switches: number;
  readonly portsPerSwitch: number;
  /** Ports on this host, spread over `localSwitches` (all by default). */
  readonly localPorts: number;
  readonly localSwitches?: number;
  readonly hosts?: number;
}

/** Ports are numbered from 1, switch after switch; dual-stack, guarded, on hosts in turn. */
export function largeModel(options: LargeOptions): InputRecord[] {
  const hosts = Array.from({ length: options.hosts ?? 10 }, (_, i) => host(i + 1, `192.0.2.${i + 1}`));
  const own = hosts[0]!;
  const records: InputRecord[] = [zone(), ...hosts, self(own, { meters: { packetIn: 1, sample: 2 } })];
  const localSwitches = options.localSwitches ?? options.switches;
  const localPerSwitch = Math.ceil(options.localPorts / localSwitches);
  let ofport = 200;
  for (let s = 1; s <= options.switches; s++) {
    const onSwitch = logicalSwitch(s, { key: s, subnets: [subnet('10.0.0.0/16'), subnet('2001:db8::/64')] });
    records.push(onSwitch);
    for (let p = 0; p < options.portsPerSwitch; p++) {
      const number = (s - 1) * options.portsPerSwitch + p + 1;
      const isLocal = s <= localSwitches && p < localPerSwitch;
      const record = largePort(number, onSwitch.id, p + 1);
      records.push(record, binding(record, isLocal ? own : hosts[1 + (number % (hosts.length - 1))]!));
      if (isLocal) records.push(boundInterface(record, ofport++));
    }
  }
  return records;
}

export function largePort(number: number, onSwitch: string, index: number): ReturnType<typeof port> {
  const low = `${Math.floor(index / 250)}.${(index % 250) + 1}`;
  const mac = `02:16:${number
    .toString(16)
    .padStart(8, '0')
    .replace(/(..)(?=.)/g, '$1:')}`;
  return port(number, { id: onSwitch } as never, {
    key: 0x10000 + number,
    mac,
    addresses: [`10.0.${low}`, `2001:db8::${index.toString(16)}`],
  });
}
