import type { Contribution } from '../../incremental/definitions.ts';
import { once } from '../../incremental/definitions.ts';
import { commonBits, narrow, otherBits, placeOf } from '../bits.ts';
import { sample, switchFacts } from '../facts.ts';
import { ARP, match, ND, neighbor } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, guardedAddressesIndex, guardedMacsIndex } from '../inputs.ts';
import { CLASSIFY, SOURCE } from './classify.ts';
import { GUARD, SERVICE } from './guard.ts';

/**
 * Flows that only keep drops wide (bits.ts): a frame whose address differs from all owned ones in a bit that these share is dropped by that
 * bit. They ask for what all guarded ports here have in common, or all of a switch, so a port more costs none; a port with a MAC out of
 * the ordinary leaves fewer common bits, and then a spray costs more megaflows until the agent shuts the sprayer off.
 */
export const WIDE_BITS = 8;
/** Of ARP's sender addresses, per switch: all but 1 of 16. */
export const WIDE_ADDRESS_BITS = 4;

export const wideUnit = define.unit({
  name: 'wide',
  over: once,
  run(reader) {
    const macs = [commonBits(reader.members(guardedMacsIndex, ''), 48)];
    const drop = <R extends 'spoofed-mac' | 'spoofed-arp' | 'spoofed-nd'>(reason: R) =>
      ({ do: sample(reader), drop: reason }) as const;
    const bits = otherBits(macs, 48, WIDE_BITS);
    // An absent option reads as zero, so only ones that should be zeros tell.
    const zeros = otherBits(macs, 48, WIDE_BITS, true);
    return [
      ...bits.flatMap((bit) => [
        flow('classify', CLASSIFY.wide + placeOf(bit), { eth_src: narrow(bit) }, drop('spoofed-mac')),
        flow('source', SOURCE.wide + placeOf(bit), { eth_src: narrow(bit) }, drop('spoofed-mac')),
        flow('guard', GUARD.wideHardware + placeOf(bit), { ...ARP, arp_sha: narrow(bit) }, drop('spoofed-arp')),
      ]),
      ...zeros.flatMap((bit) => [
        flow(
          'service',
          SERVICE.wide + placeOf(bit),
          { ...neighbor(ND.solicit), nd_sll: narrow(bit) },
          drop('spoofed-nd'),
        ),
        flow(
          'service',
          SERVICE.wide + placeOf(bit),
          { ...neighbor(ND.advert), nd_tll: narrow(bit) },
          drop('spoofed-nd'),
        ),
      ]),
    ];
  },
});

/** Sender addresses of ARP; sources of IP need none: Open vSwitch narrows those by prefix (`Table.prefixes`). */
export const wideAddressesUnit = define.unit({
  name: 'wideAddresses',
  over: guardedAddressesIndex,
  run(reader, switchId): readonly Contribution[] {
    const onSwitch = reader.derive(switchFacts, switchId);
    // Without subnets there may be ports that own every address.
    if (onSwitch === undefined || !onSwitch.hasSubnets) return [];
    const owned = commonBits(reader.members(guardedAddressesIndex, switchId), 32);
    return otherBits([owned], 32, WIDE_ADDRESS_BITS, true).map((bit) =>
      flow(
        'guard',
        GUARD.wideAddress + placeOf(bit),
        match({ switch: onSwitch.key }, { ...ARP, arp_spa: narrow(bit) }),
        {
          do: sample(reader),
          drop: 'spoofed-arp',
        },
      ),
    );
  },
});
