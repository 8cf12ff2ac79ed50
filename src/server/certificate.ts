import { createSign, generateKeyPairSync, randomBytes } from 'node:crypto';
import { parseIp } from '../base/addresses.ts';

/**
 * A self-signed certificate (X.509 v3, RFC 5280; ECDSA P-256), so that a server can be reached over TLS before anybody
 * has a certificate authority. Whoever connects is given the certificate itself to trust (`--ca-file`).
 *
 *     Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }
 *     TBSCertificate ::= SEQUENCE { [0] version, serialNumber, signature, issuer, validity, subject,
 *                                   subjectPublicKeyInfo, [3] extensions }
 */
export interface CertificateSettings {
  /** DNS names and IP addresses at which the server is reached; the first one is the common name. */
  readonly names: readonly string[];
  readonly days?: number;
  readonly nowMs?: number;
}

export interface Certificate {
  /** PEM. */
  readonly cert: string;
  /** PEM, PKCS #8; nobody else may read it. */
  readonly key: string;
}

const DAY_MS = 86_400_000;
const OID = {
  ecdsaWithSha256: [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
  commonName: [0x55, 0x04, 0x03],
  subjectAltName: [0x55, 0x1d, 0x11],
  basicConstraints: [0x55, 0x1d, 0x13],
  extendedKeyUsage: [0x55, 0x1d, 0x25],
  serverAuth: [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01],
} as const;

export function createCertificate(settings: CertificateSettings): Certificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const nowMs = settings.nowMs ?? Date.now();
  const algorithm = sequence(oid(OID.ecdsaWithSha256));
  const subject = sequence(set(sequence(oid(OID.commonName), text(settings.names[0] ?? 'weft'))));
  const body = sequence(
    tagged(0xa0, integer(Buffer.from([2]))),
    integer(positive(randomBytes(16))),
    algorithm,
    subject,
    // A clock that is a little behind must not refuse a certificate made just now.
    sequence(time(nowMs - DAY_MS), time(nowMs + (settings.days ?? 825) * DAY_MS)),
    subject,
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(0xa3, sequence(...extensions(settings.names))),
  );
  const signature = createSign('sha256').update(body).sign(privateKey);
  const certificate = sequence(body, algorithm, bitString(signature));
  return { cert: pem('CERTIFICATE', certificate), key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
}

function extensions(names: readonly string[]): Buffer[] {
  const isCa = Buffer.from([0x01, 0x01, 0xff]);
  return [
    sequence(oid(OID.basicConstraints), isCa, octets(sequence(isCa))),
    sequence(oid(OID.extendedKeyUsage), octets(sequence(oid(OID.serverAuth)))),
    sequence(oid(OID.subjectAltName), octets(sequence(...names.map(generalName)))),
  ];
}

/** RFC 5280 §4.2.1.6: dNSName [2], iPAddress [7]. */
function generalName(name: string): Buffer {
  const ip = parseIp(name);
  if (!ip) return tagged(0x82, Buffer.from(name, 'ascii'));
  const hex = ip.value.toString(16).padStart(ip.version === 4 ? 8 : 32, '0');
  return tagged(0x87, Buffer.from(hex, 'hex'));
}

function tagged(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([tag]), lengthOf(body.length), body]);
}

/** X.690 §8.1.3: short form below 128, else the count of length bytes with the high bit set. */
function lengthOf(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length]);
  const bytes = Buffer.from(length.toString(16).padStart(length > 0xff ? 4 : 2, '0'), 'hex');
  return Buffer.concat([Buffer.from([0x80 | bytes.length]), bytes]);
}

const sequence = (...parts: readonly Uint8Array[]): Buffer => tagged(0x30, ...parts);
const set = (...parts: readonly Uint8Array[]): Buffer => tagged(0x31, ...parts);
const integer = (bytes: Uint8Array): Buffer => tagged(0x02, bytes);
const oid = (bytes: readonly number[]): Buffer => tagged(0x06, Buffer.from(bytes));
const text = (value: string): Buffer => tagged(0x0c, Buffer.from(value, 'utf8'));
const octets = (value: Uint8Array): Buffer => tagged(0x04, value);
const bitString = (value: Uint8Array): Buffer => tagged(0x03, Buffer.from([0]), value);

/** An integer whose first bit is set would be negative, one that begins with zeros not the shortest (X.690 §8.3). */
function positive(bytes: Buffer): Buffer {
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return bytes;
}

/** GeneralizedTime from 2050 on, UTCTime before (RFC 5280 §4.1.2.5). */
function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/[-:T]|\..*/g, '');
  return Number(digits.slice(0, 4)) >= 2050
    ? tagged(0x18, Buffer.from(`${digits}Z`))
    : tagged(0x17, Buffer.from(`${digits.slice(2)}Z`));
}

function pem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
