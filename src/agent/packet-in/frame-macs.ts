import { formatMac } from '../../base/addresses.ts';

/** The addresses of a frame as text; bytes that a cut frame lacks read as zero. */
export function destinationMac(frame: Uint8Array): string {
  return macAt(frame, 0);
}

export function sourceMac(frame: Uint8Array): string {
  return macAt(frame, 6);
}

function macAt(frame: Uint8Array, offset: number): string {
  let mac = 0;
  for (let i = 0; i < 6; i++) mac = mac * 256 + (frame[offset + i] ?? 0);
  return formatMac(mac);
}
