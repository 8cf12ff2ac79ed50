import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Ipv4, Ipv6, Mac } from '../base/addresses.ts';
import { formatHex } from '../base/bytes.ts';
import { DNS_CODE, DNS_TYPE, decodeDnsQuery, encodeDnsAnswer, encodeDnsQuery } from './dns.ts';
import { ETHER_TYPE } from './ethernet.ts';
import { IP_PROTO } from './ip-protocol.ts';
import { ipv4Header } from './ipv4.ts';
import { encodePacket } from './packet.ts';
import { domainName } from './testing/arbitraries.ts';
import { withCaptureFile } from './testing/capture-file.ts';
import { testCodec } from './testing/codec-contract.ts';

const u16 = fc.integer({ min: 0, max: 0xffff });
testCodec({
  name: 'DNS query',
  values: fc.record({
    id: u16,
    isRecursionDesired: fc.boolean(),
    question: fc.record({ name: domainName, type: u16, class: u16 }),
  }),
  encode: (query) => encodeDnsQuery(query),
  decode: (bytes) => decodeDnsQuery(bytes),
});

const question = { name: 'db-1', type: DNS_TYPE.a, class: 1 };
const answer = {
  id: 0x1234,
  isRecursionDesired: true,
  isAuthoritative: true,
  code: DNS_CODE.noError,
  question,
  ttlS: 10,
};

test('an answer repeats the question and points at its name', () => {
  assert.equal(
    formatHex(encodeDnsAnswer({ ...answer, addresses: [0x0a00_0102 as Ipv4] })),
    '123485000001000100000000 0464622d310000010001 c00c00010001 0000000a00040a000102'.replaceAll(' ', ''),
  );
});

test('Wireshark reads the addresses of an answer', (t) => {
  const addresses = [0x0a00_0102 as Ipv4, (0x2001_0db8n << 96n) as Ipv6];
  const payload = encodeDnsAnswer({ ...answer, addresses });
  const l3 = { kind: 'ipv4', ...ipv4Header({ src: 1 as Ipv4, dst: 2 as Ipv4, protocol: IP_PROTO.udp }) } as const;
  const l4 = { kind: 'udp', srcPort: 53, dstPort: 4000, noChecksum: false } as const;
  const ethernet = { dst: 0x0200_0000_0001 as Mac, src: 0x0200_0000_0002 as Mac, etherType: ETHER_TYPE.ipv4 };
  const read = withCaptureFile([encodePacket({ ethernet, vlans: [], l3, l4, payload })], (path) => {
    const fields = ['dns.qry.name', 'dns.a', 'dns.aaaa', 'dns.flags.rcode'].flatMap((field) => ['-e', field]);
    const run = spawnSync('tshark', ['-n', '-r', path, '-T', 'fields', ...fields], { encoding: 'utf8' });
    return run.error ? undefined : run.stdout.trim();
  });
  if (read === undefined) return t.skip('tshark is not installed');
  assert.equal(read, 'db-1\t10.0.1.2\t2001:db8::\t0');
});
