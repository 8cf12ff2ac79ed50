import fc from 'fast-check';
import { HELLO_ETHER_TYPE } from '../packet/attachment-hello.ts';
import type { RoutedSketch } from './generate-routed-frames.ts';

/**
 * Random frames that a workload of a model might send, good and bad. As the model's, their description is indexes: into
 * lists that begin with what is the port's own, so that a failure shrinks towards an honest frame.
 */
export interface FrameSketch {
  readonly src: number;
  readonly dst: number;
  readonly tags: readonly TagSketch[];
  /** Where `tags` is empty and the port carries VLANs: none, or the tag of one that it carries. */
  readonly carried: number;
  readonly body: BodySketch;
  readonly mutation: MutationSketch;
}

export interface TagSketch {
  readonly service: boolean;
  readonly vid: number;
  readonly pcp: number;
}

/** Addresses are indexes into `addressPools`. */
export type BodySketch =
  | { readonly kind: 'arp'; readonly op: number; readonly sha: number; readonly spa: number; readonly tpa: number }
  | { readonly kind: 'garp'; readonly op: number; readonly own: number }
  | { readonly kind: 'rarp' }
  | {
      readonly kind: 'ip';
      readonly version: 4 | 6;
      readonly src: number;
      readonly dst: number;
      readonly upper: UpperSketch;
      readonly fragment: FragmentSketch;
      readonly extension: boolean;
    }
  | { readonly kind: 'dhcp'; readonly version: 4 | 6; readonly server: boolean; readonly src: number }
  | {
      readonly kind: 'nd';
      readonly type: 'ns' | 'na' | 'rs' | 'ra' | 'redirect';
      readonly src: number;
      readonly target: number;
      readonly option: number;
      readonly toAll: boolean;
    }
  | { readonly kind: 'other'; readonly etherType: number }
  /** From its own address to port 53 of the gateway that the frame's `dst` picks, of whatever IP version. */
  | { readonly kind: 'name' }
  | RoutedSketch
  /** A frame that a rule fits, or nearly: its ports are at (0, 1) or one beyond (2, 3) the ends of the rule's ranges. */
  | {
      readonly kind: 'rule';
      readonly rule: number;
      readonly edge: number;
      readonly src: number;
      readonly dst: number;
      readonly fragment: FragmentSketch;
    };

export type FlatSketch = Exclude<BodySketch, RoutedSketch>;

export type FragmentSketch = 'whole' | 'first' | 'later';

export type UpperSketch =
  | { readonly protocol: 6 | 17 | 132; readonly srcPort: number; readonly dstPort: number }
  | { readonly protocol: 1 | 58; readonly type: number; readonly code: number }
  | { readonly protocol: 47 };

export type MutationSketch =
  | { readonly kind: 'none' }
  | { readonly kind: 'cut'; readonly length: number }
  | { readonly kind: 'flip'; readonly offset: number; readonly bits: number };

const PORTS = [80, 79, 81, 8000, 8080, 8081, 7999, 443, 442, 68, 67, 69, 546, 547, 0, 1, 1023, 1024, 65535];
const tag: fc.Arbitrary<TagSketch> = fc.record({
  service: fc.constantFrom(false, false, false, true),
  vid: fc.constantFrom(10, 20, 10, 20, 11, 13, 100, 30, 0, 4095),
  pcp: fc.constantFrom(0, 0, 5),
});
const small = fc.nat({ max: 11 });
/** Mostly the port's own (the first of its pool). */
const own = fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: small });
const upper: fc.Arbitrary<UpperSketch> = fc.oneof(
  fc.record({
    protocol: fc.constantFrom<6 | 17 | 132>(6, 17, 132),
    srcPort: fc.constantFrom(...PORTS),
    dstPort: fc.constantFrom(...PORTS),
  }),
  fc.record({
    protocol: fc.constantFrom<1 | 58>(1, 58),
    type: fc.constantFrom(8, 0, 3, 128, 133, 134, 135, 136, 137),
    code: fc.constantFrom(0, 1),
  }),
  fc.constant({ protocol: 47 as const }),
);
const ASKS_NAME = 0x9000;
const fragment = fc.constantFrom<FragmentSketch>('whole', 'whole', 'whole', 'first', 'later');
const body: fc.Arbitrary<BodySketch> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('arp'),
      op: fc.constantFrom(1, 1, 1, 1, 2, 3, 257),
      sha: own,
      spa: own,
      tpa: small,
    }),
  },
  fc.record({ kind: fc.constant('garp'), op: fc.constantFrom(1, 2), own: small }),
  fc.constant({ kind: 'rarp' as const }),
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('ip'),
      version: fc.constantFrom<4 | 6>(4, 6),
      src: own,
      dst: small,
      upper,
      fragment,
      extension: fc.constantFrom(false, false, false, true),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('dhcp'),
      version: fc.constantFrom<4 | 6>(4, 6),
      server: fc.constantFrom(false, false, false, true),
      src: own,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('nd'),
      type: fc.constantFrom('ns', 'na', 'rs', 'ra', 'redirect', 'ns', 'na', 'ns'),
      src: own,
      target: small,
      option: fc.constantFrom(0, 1, 2, 3),
      toAll: fc.boolean(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('rule'),
      rule: fc.nat({ max: 23 }),
      edge: fc.constantFrom(0, 1, 0, 1, 2, 3),
      fragment,
      src: own,
      dst: small,
    }),
  },
  // Chosen in the place of another one: seeds go on to mean what they meant.
  fc
    .record({
      kind: fc.constant('other' as const),
      etherType: fc.constantFrom(0x88cc, 0x8847, 0x0040, ASKS_NAME, HELLO_ETHER_TYPE),
    })
    .map((body): BodySketch => (body.etherType === ASKS_NAME ? { kind: 'name' } : body)),
);

export const frameSketch: fc.Arbitrary<FrameSketch> = fc.record({
  src: own,
  dst: small,
  carried: fc.nat({ max: 5 }),
  tags: fc.oneof(
    { weight: 8, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(tag, { minLength: 1, maxLength: 1 }) },
    { weight: 1, arbitrary: fc.array(tag, { minLength: 2, maxLength: 2 }) },
  ),
  body,
  mutation: fc.oneof(
    { weight: 12, arbitrary: fc.constant({ kind: 'none' as const }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('cut'), length: fc.integer({ min: 14, max: 80 }) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('flip'),
        offset: fc.integer({ min: 12, max: 80 }),
        bits: fc.integer({ min: 1, max: 255 }),
      }),
    },
  ),
});
