import { parseIp } from '../../base/addresses.ts';
import { describe } from '../describe.ts';
import { isHostAddress } from '../subnets.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';

/** A tunnel address tells a host: one host per address and zone. */
export const checkHosts: Rule = (index, changes, report) => {
  for (const { after } of written(changes, 'host')) {
    const object = describe(index, after);
    const path = 'tunnelAddress';
    for (const other of index.hostsWithTunnelAddress(after.zone, after.tunnelAddress))
      if (other !== after) {
        const message = `host ${other.name} of the same zone has ${after.tunnelAddress}`;
        report({ object, path, code: 'duplicate-tunnel-address', message });
        break;
      }
    if (!isHostAddress(parseIp(after.tunnelAddress)!))
      report({ object, path, code: 'address-reserved', message: `${after.tunnelAddress} is no address of a host` });
  }
};
