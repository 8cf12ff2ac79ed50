import { formatIp, formatMac, type Ip } from '../../src/base/addresses.ts';
import { extractFlowKey, type FlowKey } from '../../src/packet/flow-key.ts';
import { decodePacket } from '../../src/packet/packet.ts';
import { type Headers, headersOf } from '../../src/pipeline/datapath.fixture.ts';

/** Reading answers, from their bytes or from headers that datapath actions leave. Wrong ones say what is wrong with them. */
interface Answer {
  readonly kind: 'arp' | 'nd';
  readonly address: Ip;
  readonly mac: number;
  /** Name, what it is, what it should be. */
  readonly checks: readonly (readonly [string, unknown, unknown])[];
}

function format({ kind, address, mac, checks }: Answer): string {
  const wrong = checks.filter(([, is, should]) => String(is) !== String(should));
  const lines = wrong.map(([name, is, should]) => `${name} is ${String(is)} instead of ${String(should)}`);
  return [`${kind} ${formatIp(address)} ${formatMac(mac)}`, ...lines].join('; ');
}

/** Solicited and override (RFC 4861 §4.4). */
const FLAGS = 0x6000_0000;

/** What an answer says, in the words of `expected`; in addition what is wrong with it as an answer to the question. */
export function answerFromBytes(question: Uint8Array, bytes: Uint8Array): string {
  const extra: (readonly [string, unknown, unknown])[] = [];
  if (!isSound(question)) return read(question, headersOf(bytes), extra);
  const { l3, l4 } = decodePacket(bytes, { verifyChecksums: true });
  if (l3?.kind === 'ipv6' && l4?.kind === 'nd' && l4.message.kind === 'neighborAdvert')
    extra.push(['flags', l4.message.flags, FLAGS], ['hop limit', l3.hopLimit, 255]);
  return read(question, headersOf(bytes), extra);
}

/** What was wrong in the question and is not looked at (a checksum, the version of IP) is wrong in the answer. */
function isSound(frame: Uint8Array): boolean {
  try {
    decodePacket(frame, { verifyChecksums: true });
    return true;
  } catch {
    return false;
  }
}

export function answerFromHeaders(question: Uint8Array, headers: Headers): string {
  const isNd = headers['icmpv6.type'] !== undefined;
  const flags = headers['nd_ext.nd_reserved'] ?? headers['nd_extensions.nd_reserved'];
  return read(
    question,
    headers,
    isNd
      ? [
          ['hop limit', headers['ipv6.hlimit'], 255],
          ['flags', flags, FLAGS],
        ]
      : [],
  );
}

function read(question: Uint8Array, said: Headers, extra: Answer['checks']): string {
  const asked = extractFlowKey(question);
  const common = [
    ...extra,
    ['destination', said['eth.dst'], asked.ethSrc],
    ['tags', said.vlans, headersOf(question).vlans],
  ] as const;
  if (said['arp.op'] !== undefined) return format(arpAnswer(asked, said, common));
  if (said['icmpv6.type'] !== undefined) return format(ndAnswer(asked, said, common));
  return `no answer: ${JSON.stringify(said)}`;
}

function arpAnswer(asked: Readonly<FlowKey>, said: Headers, common: Answer['checks']): Answer {
  return {
    kind: 'arp',
    address: { version: 4, value: Number(said['arp.sip']) } as Ip,
    mac: Number(said['arp.sha']),
    checks: [
      ...common,
      ['operation', said['arp.op'], 2],
      ['source', said['eth.src'], said['arp.sha']],
      ['target MAC', said['arp.tha'], asked.arpSha],
      ['target address', said['arp.tip'], asked.arpSpa],
    ],
  };
}

function ndAnswer(asked: Readonly<FlowKey>, said: Headers, common: Answer['checks']): Answer {
  // An answer to a question without the option cannot have one: actions make no room for it.
  const link: Answer['checks'] = asked.ndSll === 0 ? [] : [['link-layer address', said['nd.tll'], said['eth.src']]];
  return {
    kind: 'nd',
    address: { version: 6, value: BigInt(said['nd.target']!) } as Ip,
    mac: Number(said['eth.src']),
    checks: [
      ...common,
      ['type', said['icmpv6.type'], 136],
      ['source address', said['ipv6.src'], said['nd.target']],
      ['destination address', said['ipv6.dst'], asked.ipv6Src],
      ...link,
    ],
  };
}
