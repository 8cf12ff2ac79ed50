import type { LogicalPort } from '../../model/objects.ts';
import { Network, TUNNEL_OFPORT } from '../../pipeline/network.fixture.ts';
import type { InputRecord } from '../inputs.ts';
import * as example from './example.ts';

/** Two hosts with ports on them, whose flows are executed. */
export const HOSTS = [example.host(1), example.host(2)] as const;

export interface Site {
  readonly port: LogicalPort;
  /** Index in `HOSTS`. */
  readonly on: 0 | 1;
  /** OpenFlow port, and a quarter of the conntrack zone. */
  readonly ofport: number;
}

export function siteNetwork(records: readonly InputRecord[], sites: readonly Site[]): Network {
  const hosts = HOSTS.map(({ id, tunnelAddress }, i) => ({
    id,
    tunnelAddress,
    interfaces: new Map(sites.filter(({ on }) => on === i).map(({ port, ofport }) => [ofport, port.name])),
  }));
  return new Network(hosts, ({ id }) => siteInputs(records, sites, HOSTS[0].id === id ? 0 : 1));
}

/** What one of the hosts compiles from. */
export function siteInputs(records: readonly InputRecord[], sites: readonly Site[], host: 0 | 1): InputRecord[] {
  return [
    example.zone(),
    ...HOSTS,
    ...records,
    ...sites.map(({ port }) => port),
    ...sites.map(({ port, on }) => example.binding(port, HOSTS[on])),
    example.self(HOSTS[host], { tunnelPorts: { geneve: TUNNEL_OFPORT } }),
    ...sites
      .filter(({ on }) => on === host)
      .map(({ port, ofport }) => ({ ...example.boundInterface(port, ofport), zone: ofport * 4 })),
  ];
}
