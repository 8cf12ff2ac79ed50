import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatIp, type Ipv4, type Ipv6, type Mac } from '../../base/addresses.ts';
import { DNS_CODE, DNS_TYPE, encodeDnsQuery } from '../../packet/dns.ts';
import { decodePacket } from '../../packet/packet.ts';
import { testGround } from '../testing/test-ground.ts';
import type { Link } from './link.ts';
import { answerName } from './names.ts';
import { udp4Frame } from './reply.ts';

const subnet = {
  cidr: '10.0.1.0/24',
  gateway: '10.0.1.1',
  dhcp: { enabled: true, dns: [], ntp: [], routes: [], domain: 'corp.example' },
};
const { scope } = testGround([
  { kind: 'tenant', id: 't', name: 'acme' },
  { kind: 'switch', id: 'front', name: 'front', tenant: 't', key: 101, subnets: [subnet], vlanAware: false, dns: true },
  { kind: 'switch', id: 'back', name: 'back', tenant: 't', key: 102, subnets: [], vlanAware: false },
  { kind: 'port', id: 'p', name: 'web-1', tenant: 't', key: 1, switch: 'front', addresses: ['10.0.1.2'] },
  { kind: 'port', id: 'q', name: 'db-1', tenant: 't', key: 2, switch: 'back', addresses: ['10.0.2.3', '2001:db8::3'] },
  { kind: 'port', id: 'o', name: 'secret', tenant: 'other', key: 3, switch: 'back', addresses: ['10.0.2.9'] },
]);
const link: Link = { port: scope.port('p')!, switch: scope.get('switch', 'front')!, scope, host: 'h' };
const ENDS = { src: 0x0a00_0102 as Ipv4, dst: 0x0a00_0101 as Ipv4, srcPort: 4000, dstPort: 53 };
const ENVELOPE = { src: 0x0200_0000_0001 as Mac, dst: 0x0200_0000_0201 as Mac, tag: 0 };

/** `code addresses`. */
function ask(name: string, type: number = DNS_TYPE.a): string {
  const query = encodeDnsQuery({ id: 7, isRecursionDesired: true, question: { name, type, class: 1 } });
  const { ethernet, l3, l4, payload } = decodePacket(answerName(udp4Frame(ENVELOPE, ENDS, query), link, 0)!);
  assert.equal(ethernet.dst, ENVELOPE.src);
  assert.ok(l3?.kind === 'ipv4' && l3.src === ENDS.dst && l3.dst === ENDS.src);
  assert.ok(l4?.kind === 'udp' && l4.srcPort === 53 && l4.dstPort === 4000);
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const found: string[] = [];
  for (let at = query.length; at < payload.length; at += 12 + view.getUint16(at + 10)) {
    const length = view.getUint16(at + 10);
    const value =
      length === 4
        ? ({ version: 4, value: view.getUint32(at + 12) as Ipv4 } as const)
        : ({ version: 6, value: ((view.getBigUint64(at + 12) << 64n) | view.getBigUint64(at + 20)) as Ipv6 } as const);
    found.push(formatIp(value));
  }
  return [view.getUint16(2) & 0xf, ...found].join(' ');
}

test('a workload is found by its bare name, below the domain of the network, and by its full name', () => {
  for (const name of ['db-1', 'DB-1', 'db-1.corp.example', 'db-1.back.acme.weft', 'db-1.back.acme.weft.']) {
    assert.equal(ask(name), '0 10.0.2.3', name);
    assert.equal(ask(name, DNS_TYPE.aaaa), '0 2001:db8::3');
  }
  assert.equal(ask('web-1', DNS_TYPE.aaaa), '0');
});

test('names of others are refused or unknown, never told', () => {
  assert.equal(ask('secret'), `${DNS_CODE.refused}`);
  assert.equal(ask('secret.back.other.weft'), `${DNS_CODE.nameError}`);
  assert.equal(ask('db-1.front.acme.weft'), `${DNS_CODE.nameError}`);
  assert.equal(ask('www.example.com'), `${DNS_CODE.refused}`);
  assert.equal(ask('nobody'), `${DNS_CODE.refused}`);
});

test('bytes that are no question are not answered', () => {
  assert.equal(answerName(udp4Frame(ENVELOPE, ENDS, new Uint8Array(5)), link, 0), undefined);
  assert.equal(answerName(new Uint8Array(60), link, 0), undefined);
});
