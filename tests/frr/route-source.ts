import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { parseIpv4 } from '../../src/base/addresses.ts';
import { ByteReader, ByteWriter } from '../../src/base/bytes.ts';

/**
 * The smallest BGP speaker (RFC 4271) that can tell very many prefixes: `route-source.ts PEER ASN ROUTER-ID PREFIXES`. It connects until it is
 * let in, announces `PREFIXES` /24s from 1.0.0.0 on when its input says `announce`, and ends with its input.
 */
const [peer, asn, routerId, prefixes] = process.argv.slice(2) as [string, string, string, string];
const Type = { open: 1, update: 2, notification: 3, keepalive: 4 } as const;
/** The longest message (§4.1) without its other parts, by 4 bytes for a /24. */
const PER_UPDATE = 1_000;

function message(type: number, body: (out: ByteWriter) => void): Uint8Array {
  const out = new ByteWriter(4_096);
  for (let i = 0; i < 16; i++) out.u8(0xff);
  out.u16(0).u8(type);
  body(out);
  out.patchU16(16, out.length);
  return out.finish();
}

/** Version 4, hold time 90 s, one capability: four-octet AS numbers (RFC 6793). */
const open = message(Type.open, (out) => {
  out
    .u8(4)
    .u16(Number(asn) > 65_535 ? 23_456 : Number(asn))
    .u16(90)
    .u32(parseIpv4(routerId)!);
  out.u8(8).u8(2).u8(6).u8(65).u8(4).u32(Number(asn));
});
const keepalive = message(Type.keepalive, () => {});

/** ORIGIN IGP, AS_PATH of one, NEXT_HOP, then the prefixes. */
function update(first: number, count: number, nextHop: number): Uint8Array {
  return message(Type.update, (out) => {
    out.u16(0).u16(20);
    out.u8(0x40).u8(1).u8(1).u8(0);
    out.u8(0x40).u8(2).u8(6).u8(2).u8(1).u32(Number(asn));
    out.u8(0x40).u8(3).u8(4).u32(nextHop);
    for (let i = first; i < first + count; i++) out.u8(24).u24(0x01_0000 + i);
  });
}

function announce(socket: Socket): void {
  const nextHop = parseIpv4(socket.localAddress!)!;
  for (let first = 0; first < Number(prefixes); first += PER_UPDATE)
    socket.write(update(first, Math.min(PER_UPDATE, Number(prefixes) - first), nextHop));
  socket.write(
    message(Type.update, (out) => out.zeros(4)),
    () => console.log('announced'),
  );
}

function speak(): void {
  const socket = connect(179, peer);
  let rest = Buffer.alloc(0);
  socket.on('connect', () => socket.write(open));
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 19 && rest.length >= rest.readUInt16BE(16)) {
      const length = rest.readUInt16BE(16);
      const type = new ByteReader(rest.subarray(18, length)).u8('type');
      rest = rest.subarray(length);
      if (type === Type.open) socket.write(keepalive);
      else if (type === Type.keepalive && current !== socket) {
        current = socket;
        console.log('established');
      }
    }
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    current = undefined;
    setTimeout(speak, 200);
  });
}

let current: Socket | undefined;
speak();
setInterval(() => current?.write(keepalive), 1_000);
createInterface({ input: process.stdin })
  .on('line', () => current && announce(current))
  .on('close', () => process.exit(0));
