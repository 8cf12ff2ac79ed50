import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { FIELDS, fieldByCode, fieldByCodeName, fieldByName, fieldOf, nxmCode, oxmCode } from './fields.ts';
import { OF10, OF13, OF15 } from './version.ts';

suite('field registry', () => {
  test('every name, alias and code point leads back to its field', () => {
    for (const field of FIELDS) {
      assert.equal(FIELDS[field.index], field);
      assert.equal(fieldByName(field.name), field);
      for (const alias of field.aliases) assert.equal(fieldByName(alias), field);
      for (const code of field.codes) {
        assert.equal(fieldByCode(code.class, code.code, code.vendor)?.field, field, code.name);
        assert.equal(fieldByCodeName(code.name)?.code, code);
      }
    }
  });

  test('prerequisites are fields that come earlier', () => {
    for (const field of FIELDS)
      for (const needed of field.prerequisites)
        assert.ok(
          fieldOf(needed.field).index < field.index || needed.field === 'ct_nw_proto' || needed.field === 'ct_state',
          field.name,
        );
  });

  test('a version gets its newest code point, Nicira actions get NXM', () => {
    const name = (field: 'eth_src' | 'reg0' | 'tcp_flags' | 'tun_id', version: number): string | undefined =>
      oxmCode(fieldOf(field), version)?.name;
    assert.equal(name('eth_src', OF13), 'OXM_OF_ETH_SRC');
    assert.equal(name('reg0', OF15), 'NXM_NX_REG0');
    assert.equal(name('tcp_flags', OF13), 'ONFOXM_ET_TCP_FLAGS');
    assert.equal(name('tcp_flags', OF15), 'OXM_OF_TCP_FLAGS');
    assert.equal(name('tun_id', OF10), 'NXM_NX_TUN_ID');
    assert.equal(nxmCode(fieldOf('ip_src'))?.name, 'NXM_OF_IP_SRC');
    assert.equal(nxmCode(fieldOf('metadata'))?.name, 'OXM_OF_METADATA');
  });
});
