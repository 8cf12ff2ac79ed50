import { type ByteReader, ByteWriter } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';

/*
 * Domain names in wire form (RFC 1035 §3.1): labels of a length byte and up to 63 bytes, ended by a label of length
 * zero. As text in presentation form (§5.1): labels joined by dots, without the last dot, the root being `.`; a byte
 * that is not printable ASCII is `\DDD`, a dot or backslash within a label has a backslash before it.
 *
 *      0         1                   1+n
 *     +---------+-------------------+---------+---- - - -+---------+
 *     | n <= 63 | n bytes           | m       | m bytes  |    0    |
 *     +---------+-------------------+---------+---- - - -+---------+
 */

const LABEL_MAX = 63;
const NAME_MAX = 255;

/** Reads one name without compression. Errors: `truncated`; `bad-value` for compression and over-long names. */
export function decodeDomainName(reader: ByteReader, field: string): string {
  const labels: string[] = [];
  for (let length = 1; ; ) {
    const size = reader.u8(field);
    if (size === 0) return labels.length === 0 ? '.' : labels.join('.');
    if (size > LABEL_MAX) reader.fail('bad-value', field, `label of length ${size}`);
    length += size + 1;
    if (length > NAME_MAX) reader.fail('bad-value', field, `name of more than ${NAME_MAX} bytes`);
    labels.push(escapeLabel(reader.take(size, field)));
  }
}

/** All names up to the end of the reader. */
export function decodeDomainNames(reader: ByteReader, field: string): string[] {
  const names: string[] = [];
  while (reader.remaining > 0) names.push(decodeDomainName(reader, field));
  return names;
}

/** Errors: `DecodeError('bad-text')` where the text is no domain name. */
export function encodeDomainName(name: string, writer = new ByteWriter(64)): Uint8Array {
  const from = writer.length;
  for (const label of splitLabels(name)) writer.u8(label.length).raw(label);
  writer.u8(0);
  if (writer.length - from > NAME_MAX) throw badName(name, `more than ${NAME_MAX} bytes`);
  return writer.view(from);
}

function escapeLabel(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) {
    const char = String.fromCharCode(byte);
    if (char === '.' || char === '\\') text += `\\${char}`;
    else if (byte > 0x20 && byte < 0x7f) text += char;
    else text += `\\${String(byte).padStart(3, '0')}`;
  }
  return text;
}

function splitLabels(name: string): Uint8Array[] {
  const body = name.endsWith('.') && !name.endsWith('\\.') ? name.slice(0, -1) : name;
  if (body === '') {
    if (name === '.') return [];
    throw badName(name, 'it is empty');
  }
  const labels: number[][] = [[]];
  for (const [part, digits, escaped, dot] of body.matchAll(/\\(\d{3})|\\([.\\])|(\.)|./gsu)) {
    if (dot !== undefined) {
      labels.push([]);
      continue;
    }
    const byte = digits === undefined ? (escaped ?? part).codePointAt(0)! : Number(digits);
    const plain = digits !== undefined || escaped !== undefined || (byte > 0x20 && byte < 0x7f && part !== '\\');
    if (!plain || byte > 255) throw badName(name, `unexpected ${JSON.stringify(part)}`);
    labels.at(-1)!.push(byte);
  }
  for (const label of labels)
    if (label.length === 0 || label.length > LABEL_MAX)
      throw badName(name, `a label of ${label.length} bytes, 1 to ${LABEL_MAX} wanted`);
  return labels.map((label) => Uint8Array.from(label));
}

function badName(name: string, why: string): DecodeError {
  return new DecodeError('bad-text', 0, 'domainName', `${JSON.stringify(name)}: ${why}`);
}
