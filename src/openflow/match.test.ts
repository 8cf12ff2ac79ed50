import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { ByteReader, ByteWriter, formatHex } from '../base/bytes.ts';
import { WeftError } from '../base/errors.ts';
import { readActions, writeActions } from './actions.ts';
import { canonicalInstructions, canonicalMatch } from './canonical.ts';
import { FIELDS, type Field } from './fields.ts';
import type { Action, FieldRange, FieldValue, Match } from './flow.ts';
import { decodeMatch, encodeMatch, readMatchFields, writeMatchFields } from './match.ts';
import { readMatch10, writeMatch10 } from './match10.ts';
import { OF10, OF13, OF14, OF15 } from './version.ts';

/** Fields that go over the wire as wide as they are. */
const PLAIN = FIELDS.filter((f) => f.codes.length > 0 && f.bits !== 992 && f.name !== 'in_port');

function anyValue(field: Field): fc.Arbitrary<FieldValue> {
  const max = (1n << BigInt(field.bits)) - 1n;
  return fc.bigInt({ min: 0n, max }).map((value) => (field.bits > 48 ? value : Number(value)));
}

function anyEntry(field: Field): fc.Arbitrary<readonly [string, Match[keyof Match]]> {
  const exact = anyValue(field).map((value) => [field.name, value] as const);
  const masked = fc
    .tuple(anyValue(field), anyValue(field))
    .map(([value, mask]) => [field.name, { value, mask }] as const);
  return field.maskable ? fc.oneof(exact, masked) : exact;
}

const anyMatch: fc.Arbitrary<Match> = fc
  .uniqueArray(fc.constantFrom(...PLAIN), { maxLength: 8 })
  .chain((fields) => fc.tuple(...fields.map(anyEntry)))
  .map((entries) => Object.fromEntries(entries) as Match);

suite('matches', () => {
  test('any match comes back as it was, in every version', () => {
    fc.assert(
      fc.property(anyMatch, fc.constantFrom(OF13, OF14, OF15), (match, version) => {
        const bytes = encodeMatch(match, version);
        assert.equal(bytes.length % 8, 0);
        assert.deepEqual(decodeMatch(bytes), match);
      }),
    );
  });

  test('any match comes back as it was as an nx_match', () => {
    fc.assert(
      fc.property(anyMatch, (match) => {
        const writer = new ByteWriter();
        writeMatchFields(writer, match, OF10);
        assert.deepEqual(readMatchFields(new ByteReader(writer.finish())), match);
      }),
    );
  });

  test('a field never goes before its prerequisites', () => {
    const match: Match = { nd_sll: 5, nd_target: 1n, icmpv6_type: 135, ip_proto: 58, eth_type: 0x86dd };
    const order = Object.keys(decodeMatch(encodeMatch(match)));
    assert.deepEqual(order, ['eth_type', 'ip_proto', 'icmpv6_type', 'nd_sll', 'nd_target']);
  });

  test('a field of no known code is kept where it was', () => {
    const bytes = '0001001480000a020800ffff06060000aa0101020000000000'.slice(0, 48);
    const match = decodeMatch(Uint8Array.from(Buffer.from(bytes, 'hex')));
    assert.deepEqual(Object.keys(match), ['eth_type', 'unknown']);
    assert.equal(formatHex(encodeMatch(match)), bytes);
  });

  test('a name that is no field, or cannot be sent, is invalid', () => {
    assert.throws(() => encodeMatch({ nonsense: 1 } as Match), WeftError);
    assert.throws(() => encodeMatch({ skb_priority: 1 }), WeftError);
  });

  test('any forty bytes of OpenFlow 1.0 come back as they were', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 40, maxLength: 40 }), (bytes) => {
        const writer = new ByteWriter();
        writeMatch10(writer, readMatch10(new ByteReader(bytes)));
        assert.equal(formatHex(writer.finish()), formatHex(bytes));
      }),
    );
  });

  test('bytes kept of OpenFlow 1.0 give way to a changed match', () => {
    const bytes = new Uint8Array(40).fill(0xff);
    const changed: Match = { ...readMatch10(new ByteReader(bytes)), in_port: 5 };
    const writer = new ByteWriter();
    writeMatch10(writer, changed);
    assert.equal(readMatch10(new ByteReader(writer.finish())).in_port, 5);
  });

  test('what OpenFlow 1.0 cannot say is invalid', () => {
    for (const match of [{ reg0: 1 }, { ip_src: { value: 1, mask: 1 } }, { eth_src: { value: 0, mask: 1 } }])
      assert.throws(() => writeMatch10(new ByteWriter(), match), WeftError);
  });
});

const range: fc.Arbitrary<FieldRange> = fc.constantFrom(...PLAIN.filter((f) => f.writable)).chain((field) =>
  fc.tuple(fc.nat(field.bits - 1), fc.nat(63)).map(([from, more]) => ({
    field: field.name,
    from,
    bits: Math.min(more + 1, field.bits - from),
  })),
);
const load: fc.Arbitrary<Action> = fc
  .tuple(range, fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }))
  .map(([dst, value]) => ({ kind: 'load', value: value & ((1n << BigInt(dst.bits)) - 1n), dst }));

suite('canonical forms', () => {
  test('a load means the same in every version', () => {
    fc.assert(
      fc.property(load, fc.constantFrom(OF10, OF13, OF14, OF15), (action, version) => {
        const writer = new ByteWriter();
        writeActions(writer, version, [action]);
        const actions = readActions(new ByteReader(writer.finish()), version);
        assert.deepEqual(canonicalInstructions({ actions }), canonicalInstructions({ actions: [action] }));
      }),
    );
  });

  test('canonical twice is canonical once, and order does not matter', () => {
    fc.assert(
      fc.property(anyMatch, (match) => {
        const once = canonicalMatch(match);
        assert.deepEqual(canonicalMatch(once), once);
        const turned = Object.fromEntries(Object.entries(match).reverse()) as Match;
        assert.equal(formatHex(encodeMatch(canonicalMatch(turned))), formatHex(encodeMatch(once)));
      }),
    );
  });

  test('registers in pairs, shifted TOS, tags as TCI and full masks have one form', () => {
    assert.deepEqual(canonicalMatch({ xreg0: { value: 0x5_0000_0007n, mask: 0xffff_ffff_0000_00ffn } }), {
      reg0: 5,
      reg1: { value: 7, mask: 0xff },
    });
    assert.deepEqual(canonicalMatch({ xxreg1: 5n }), { reg4: 0, reg5: 0, reg6: 0, reg7: 5 });
    assert.deepEqual(canonicalMatch({ nw_tos: 0xb8 }), { ip_dscp: 0x2e });
    assert.deepEqual(canonicalMatch({ vlan_tci: { value: 0x1005, mask: 0x1fff } }), { vlan_vid: 0x1005 });
    assert.deepEqual(canonicalMatch({ reg1: { value: 5, mask: 0xffff_ffff }, reg2: { value: 5, mask: 0 } }), {
      reg1: 5,
    });
  });
});
