import { type Ipv4, type Ipv6, type Mac, parseIp } from '../../base/addresses.ts';
import { DecodeError } from '../../base/errors.ts';
import type { LogicalPort } from '../../model/objects.ts';
import {
  DNS_CLASS_IN,
  DNS_CODE,
  DNS_TYPE,
  type DnsAnswer,
  type DnsQuery,
  decodeDnsQuery,
  encodeDnsAnswer,
} from '../../packet/dns.ts';
import { decodeEthernet, ETHER_TYPE } from '../../packet/ethernet.ts';
import { readerOf } from '../../packet/input.ts';
import { IP_PROTO } from '../../packet/ip-protocol.ts';
import { decodeIpv4, isFragment } from '../../packet/ipv4.ts';
import { decodeIpv6, fragmentOf } from '../../packet/ipv6.ts';
import { decodeUdp } from '../../packet/udp.ts';
import type { Link } from './link.ts';
import { tagAt, udp4Frame, udp6Frame } from './reply.ts';

/** The zone in which every workload has a name: `<port>.<switch>.<tenant>.weft`. */
const ZONE = 'weft';
/** A port may get another address at any time. */
const TTL_S = 10;
/** With the question these fit 512 bytes (RFC 1035 §4.2.1) in any case. */
const MOST_4 = 12;
const MOST_6 = 7;

/**
 * The answer to a question for a workload's name, back to who asked: names of ports of the asker's tenant, as `<port>` (also below the
 * domain that DHCP told) or `<port>.<switch>.<tenant>.weft`. Other names are refused, so that the asker tries its next server.
 */
export function answerName(frame: Uint8Array, link: Link, vlan: number): Uint8Array | undefined {
  try {
    const reader = readerOf(frame);
    const { ethernet } = decodeEthernet(reader);
    const envelope = { src: ethernet.dst, dst: ethernet.src as Mac, tag: tagAt(link, vlan) };
    if (ethernet.etherType === ETHER_TYPE.ipv4) {
      const { header, body } = decodeIpv4(reader);
      if (header.protocol !== IP_PROTO.udp || isFragment(header)) return undefined;
      const { header: udp, body: query } = decodeUdp(body);
      const ends = { src: header.dst, dst: header.src, srcPort: udp.dstPort, dstPort: udp.srcPort };
      return udp4Frame(envelope, ends, encodeDnsAnswer(resolveName(decodeDnsQuery(query), link)));
    }
    const { header, body } = decodeIpv6(reader);
    if (header.nextHeader !== IP_PROTO.udp || fragmentOf(header)) return undefined;
    const { header: udp, body: query } = decodeUdp(body);
    const ends = { src: header.dst, dst: header.src, srcPort: udp.dstPort, dstPort: udp.srcPort };
    return udp6Frame(envelope, ends, encodeDnsAnswer(resolveName(decodeDnsQuery(query), link)));
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

function resolveName({ id, isRecursionDesired, question }: DnsQuery, link: Link): DnsAnswer {
  const answer = (code: number, addresses: readonly (Ipv4 | Ipv6)[] = []): DnsAnswer => ({
    ...{ id, isRecursionDesired, isAuthoritative: code !== DNS_CODE.refused, code, question, addresses, ttlS: TTL_S },
  });
  const labels = localLabels(question.name.toLowerCase(), link);
  if (question.class !== DNS_CLASS_IN || !labels) return answer(DNS_CODE.refused);
  const port = labels.length === 1 ? portNamed(link, labels[0]!) : portOf(link, labels);
  // Of a bare name nobody knows whose it is: another server may.
  if (!port) return answer(labels.length === 1 ? DNS_CODE.refused : DNS_CODE.nameError);
  const ips = port.addresses.map((text) => parseIp(text)!);
  const of4 = ips.flatMap((ip) => (ip.version === 4 ? [ip.value] : [])).slice(0, MOST_4);
  const of6 = ips.flatMap((ip) => (ip.version === 6 ? [ip.value] : [])).slice(0, MOST_6);
  if (question.type === DNS_TYPE.a) return answer(DNS_CODE.noError, of4);
  return answer(DNS_CODE.noError, question.type === DNS_TYPE.aaaa ? of6 : []);
}

/** `[port]`, or port, switch and tenant; undefined for a name that is none of ours. */
function localLabels(name: string, { switch: sw }: Link): string[] | undefined {
  if (name.endsWith(`.${ZONE}`)) return name.slice(0, -ZONE.length - 1).split('.');
  for (const { dhcp } of sw.subnets) {
    const suffix = dhcp.domain === undefined ? undefined : `.${dhcp.domain.toLowerCase()}`;
    if (suffix !== undefined && name.endsWith(suffix)) return bare(name.slice(0, -suffix.length));
  }
  return bare(name);
}

function bare(name: string): string[] | undefined {
  return name.includes('.') ? undefined : [name];
}

/** Names are of one tenant each; those of others are nobody's business here. */
function portNamed({ port: { tenant }, scope }: Link, name: string): LogicalPort | undefined {
  for (const port of scope.all('port')) if (port.name === name && port.tenant === tenant) return port;
  return undefined;
}

function portOf(link: Link, labels: readonly string[]): LogicalPort | undefined {
  // Names of objects may have dots: what counts is the whole.
  const whole = labels.join('.');
  const { tenant } = link.port;
  const owner = link.scope.get('tenant', tenant)?.name;
  for (const port of link.scope.all('port')) {
    if (port.tenant !== tenant || !whole.startsWith(`${port.name}.`)) continue;
    if (whole === `${port.name}.${link.scope.switchOf(port)?.name}.${owner}`) return port;
  }
  return undefined;
}
