import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Meter } from '../compile/meters.ts';
import { BAND_TYPE, METER_FLAG } from '../openflow/messages/meter.ts';
import { differingMeters, HOST_METER, meterConfig } from './meters.ts';

const limit = (meter: number, rate: number): Meter => ({ meter, unit: 'kbps', rate, burst: 600 });

test('what the switch has already is left alone, what it lacks or has otherwise is set, what nobody names is taken away', () => {
  const wanted = new Map([limit(20, 1000), limit(21, 2000), limit(22, 3000)].map((each) => [each.meter, each]));
  const installed = [limit(20, 1000), limit(21, 999), limit(24, 5)].map(meterConfig);
  assert.deepEqual(differingMeters(wanted, installed), { put: [limit(21, 2000), limit(22, 3000)], gone: [24] });
});

test('the meters of the host itself, and those of the switch itself, are no limits', () => {
  const bands = [{ type: BAND_TYPE.drop, rate: 1, burst: 1 }];
  const others = [...Object.values(HOST_METER), 0xffff_fffd, 0xffff_fffe];
  const installed = others.map((meter) => ({ meter, flags: METER_FLAG.packets, bands }));
  assert.deepEqual(differingMeters(new Map(), installed), { put: [], gone: [] });
});
