import { parseIp } from '../../base/addresses.ts';
import { once } from '../../incremental/definitions.ts';
import type { Match } from '../../openflow/flow.ts';
import { localSwitch, type SwitchFacts, selfHost, switchFacts, tunnelOfport } from '../facts.ts';
import { load, move, REGISTERS, UNICAST_ADDRESS } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, hostsIndex, macsOf } from '../inputs.ts';
import { macOf } from '../owned.ts';
import { placementOf } from '../placement.ts';
import { receiverRegisters } from '../tracking.ts';
import { CLASSIFY } from './classify.ts';

/** Tunnel packets: from whom (`classify`), and where their key goes on (`tunnel`). */
export const TUNNEL = { knownOnly: 400, group: 390, fits: 300 } as const;

/**
 * The tunnel port takes packets of the zone's hosts and of nobody else, and only at the address that they send to: a tunnel port hears every
 * address of its host, and to any other a mirror could send what its workload made up. One mask: Open vSwitch's megaflows of tunnels name both ends anyway.
 */
export const tunnelSourcesUnit = define.unit({
  name: 'tunnelSources',
  over: once,
  run(reader) {
    const ofport = reader.derive(tunnelOfport, '');
    const self = selfHost(reader);
    const zone = self === undefined ? undefined : reader.pick('host', self, 'zone');
    if (ofport === undefined || zone === undefined) return [];
    const own = parseIp(reader.pick('host', self!, 'tunnelAddress') ?? '');
    const flows = [flow('classify', CLASSIFY.special - 10, { in_port: ofport }, { drop: 'tunnel-source' })];
    if (own === undefined) return flows;
    const to: Match = own.version === 4 ? { tun_dst: own.value } : { tun_ipv6_dst: own.value };
    for (const host of reader.ids(hostsIndex, zone)) {
      const ip = host === self ? undefined : parseIp(reader.pick('host', host, 'tunnelAddress') ?? '');
      if (ip === undefined) continue;
      const source: Match = ip.version === 4 ? { tun_src: ip.value } : { tun_ipv6_src: ip.value };
      flows.push(flow('classify', CLASSIFY.special, { in_port: ofport, ...source, ...to }, { goto: 'tunnel' }));
    }
    return flows;
  },
});

/** A local port's key delivers to it, if the inner destination is the port's. */
export const tunnelToPortUnit = define.unit({
  name: 'tunnelToPort',
  over: 'interface',
  run(reader, id) {
    const port = reader.get('port', id);
    const onSwitch = port && reader.derive(switchFacts, port.switch);
    const { ofport } = placementOf(reader, id);
    if (port === undefined || onSwitch === undefined || ofport === undefined) return [];
    const key: Match = { tun_id: BigInt(port.key) };
    const target = {
      do: [
        ...load({
          switch: onSwitch.key,
          outPort: port.key,
          outOfport: ofport,
          fromTunnel: 1,
          ...receiverRegisters(reader, id),
        }),
        ...vlanOfTag(onSwitch),
      ],
      goto: 'toPort',
    } as const;
    const fits = port.portSecurity ? macsOf(port).map(macOf) : [UNICAST_ADDRESS];
    return fits.map((mac) => flow('tunnel', TUNNEL.fits, { ...key, eth_dst: mac }, target));
  },
});

/** A switch's key is for its ports here: they are looked up as at home, and nothing goes out again. */
export const tunnelToSwitchUnit = define.unit({
  name: 'tunnelToSwitch',
  over: 'switch',
  run(reader, id) {
    const onSwitch = reader.derive(localSwitch, id);
    if (onSwitch === undefined) return [];
    return [
      flow(
        'tunnel',
        TUNNEL.fits,
        { tun_id: BigInt(onSwitch.key) },
        {
          do: [...load({ switch: onSwitch.key, fromTunnel: 1 }), ...vlanOfTag(onSwitch)],
          goto: 'lookup',
        },
      ),
    ];
  },
});

/** Between hosts a frame of a VLAN carries its tag. */
function vlanOfTag(onSwitch: SwitchFacts): ReturnType<typeof move>[] {
  return onSwitch.vlanAware ? [move({ field: 'vlan_vid', from: 0, bits: 12 }, REGISTERS.vlan)] : [];
}
