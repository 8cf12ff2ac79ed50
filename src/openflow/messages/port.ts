import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { widePort } from '../oxm.ts';
import { OF10, OF14 } from '../version.ts';
import { type Codec, readProperties, readText, writeProperty, writeText } from './codec.ts';

/**
 * Ports: what a switch says of one, port status and port mod (1.0 §5.2.1, 1.3.5 §7.2.1, 1.5.1 §7.2.1).
 *
 *  1.0 (48): number(2) mac(6) name(16) config(4) state(4) curr(4) advertised(4) supported(4) peer(4)
 *  1.3 (64): number(4) 0(4) mac(6) 0(2) name(16) config(4) state(4) curr(4) advertised(4) supported(4) peer(4)
 *            curr speed(4) max speed(4)
 *  1.4 (40): number(4) length(2) 0(2) mac(6) 0(2) name(16) config(4) state(4), properties;
 *            0 ethernet: 0(4) curr(4) advertised(4) supported(4) peer(4) curr speed(4) max speed(4)
 */
export interface Port {
  readonly number: number;
  readonly mac: number;
  readonly name: string;
  /** `PORT_CONFIG` bits. */
  readonly config: number;
  /** `PORT_STATE` bits. */
  readonly state: number;
  /** Feature bits; absent when the switch says nothing of the medium. Speeds in kb/s (not in 1.0). */
  readonly ethernet?: {
    readonly current: number;
    readonly advertised: number;
    readonly supported: number;
    readonly peer: number;
    readonly currentSpeed: number;
    readonly maxSpeed: number;
  };
  /** 1.4: properties that we do not know, whole. */
  readonly unknown?: readonly Uint8Array[];
}

export const PORT_CONFIG = { down: 1, noReceive: 4, noForward: 32, noPacketIn: 64 } as const;
export const PORT_STATE = { linkDown: 1, blocked: 2, live: 4 } as const;
export const PORT_REASON = { add: 0, delete: 1, modify: 2 } as const;

export interface PortStatus {
  readonly kind: 'portStatus';
  /** One of `PORT_REASON`. */
  readonly reason: number;
  readonly port: Port;
}

export interface PortMod {
  readonly kind: 'portMod';
  readonly port: number;
  readonly mac: number;
  readonly config: number;
  /** Bits of `config` that are to change. */
  readonly mask: number;
  /** Features to advertise; 0: leave them. */
  readonly advertise: number;
  readonly unknown?: readonly Uint8Array[];
}

const ETHERNET = 0;

export function readPort(reader: ByteReader, version: number): Port {
  if (version === OF10) return readPort10(reader);
  return version < OF14 ? readPort13(reader) : readPort14(reader);
}

function readPort10(r: ByteReader): Port {
  const number = widePort(r.u16('port'));
  const common = readNamed(r);
  return { number, ...common, ethernet: { ...readFeatures(r), currentSpeed: 0, maxSpeed: 0 } };
}

function readNamed(r: ByteReader, gap = 0): Pick<Port, 'mac' | 'name' | 'config' | 'state'> {
  const mac = r.u48('mac');
  r.skip(gap, 'padding');
  return { mac, name: readText(r, 16, 'port name'), config: r.u32('config'), state: r.u32('state') };
}

function readFeatures(r: ByteReader): { current: number; advertised: number; supported: number; peer: number } {
  return {
    current: r.u32('current'),
    advertised: r.u32('advertised'),
    supported: r.u32('supported'),
    peer: r.u32('peer'),
  };
}

function readPort13(r: ByteReader): Port {
  const number = r.u32('port');
  r.skip(4, 'padding');
  const common = readNamed(r, 2);
  const features = readFeatures(r);
  return { number, ...common, ethernet: { ...features, currentSpeed: r.u32('speed'), maxSpeed: r.u32('max speed') } };
}

function readPort14(reader: ByteReader): Port {
  const number = reader.u32('port');
  const length = reader.u16('port length');
  if (length < 40) reader.fail('bad-length', 'port length', `${length}`);
  const r = reader.sub(length - 6, 'port');
  r.skip(2, 'padding');
  const common = readNamed(r, 2);
  let ethernet: Port['ethernet'];
  const unknown: Uint8Array[] = [];
  for (const { type, body, whole } of readProperties(r)) {
    if (type === ETHERNET && !ethernet) {
      body.skip(4, 'padding');
      ethernet = { ...readFeatures(body), currentSpeed: body.u32('speed'), maxSpeed: body.u32('max speed') };
    } else unknown.push(whole);
  }
  return { number, ...common, ...(ethernet ? { ethernet } : {}), ...(unknown.length > 0 ? { unknown } : {}) };
}

const NO_FEATURES = { current: 0, advertised: 0, supported: 0, peer: 0, currentSpeed: 0, maxSpeed: 0 };

export function writePort(w: ByteWriter, port: Port, version: number): void {
  const start = w.length;
  if (version === OF10) w.u16(port.number).u48(port.mac);
  else {
    w.u32(port.number).u32(0).u48(port.mac).u16(0);
  }
  writeText(w, 16, port.name);
  w.u32(port.config).u32(port.state);
  const e = port.ethernet ?? NO_FEATURES;
  const features = (to: ByteWriter): ByteWriter => to.u32(e.current).u32(e.advertised).u32(e.supported).u32(e.peer);
  if (version === OF10) features(w);
  else if (version < OF14) features(w).u32(e.currentSpeed).u32(e.maxSpeed);
  else {
    if (port.ethernet) writeProperty(w, ETHERNET, (p) => features(p.u32(0)).u32(e.currentSpeed).u32(e.maxSpeed));
    for (const bytes of port.unknown ?? []) w.raw(bytes);
    w.patchU16(start + 4, w.length - start);
  }
}

/** Port status: reason(1) 0(7) port. */
export const portStatusCodec: Codec<PortStatus> = {
  decode(r, version) {
    const reason = r.u8('reason');
    r.skip(7, 'padding');
    return { kind: 'portStatus', reason, port: readPort(r, version) };
  },
  encode(w, body, version) {
    w.u8(body.reason).zeros(7);
    writePort(w, body.port, version);
  },
};

/**
 * Port mod. 1.0: port(2) mac(6) config(4) mask(4) advertise(4) 0(4).
 * 1.3: port(4) 0(4) mac(6) 0(2) config(4) mask(4) advertise(4) 0(4); 1.4 has properties in place of the last two.
 */
export const portModCodec: Codec<PortMod> = {
  decode(r, version) {
    const port = version === OF10 ? widePort(r.u16('port')) : r.u32('port');
    if (version !== OF10) r.skip(4, 'padding');
    const mac = r.u48('mac');
    if (version !== OF10) r.skip(2, 'padding');
    const [config, mask] = [r.u32('config'), r.u32('mask')];
    const base = { kind: 'portMod', port, mac, config, mask } as const;
    if (version < OF14) {
      const advertise = r.u32('advertise');
      r.skip(4, 'padding');
      return { ...base, advertise };
    }
    let advertise = 0;
    const unknown: Uint8Array[] = [];
    for (const { type, body, whole } of readProperties(r)) {
      if (type === ETHERNET) advertise = body.u32('advertise');
      else unknown.push(whole);
    }
    return { ...base, advertise, ...(unknown.length > 0 ? { unknown } : {}) };
  },
  encode(w, body, version) {
    if (version === OF10) w.u16(body.port).u48(body.mac);
    else w.u32(body.port).u32(0).u48(body.mac).u16(0);
    w.u32(body.config).u32(body.mask);
    if (version < OF14) w.u32(body.advertise).u32(0);
    else {
      if (body.advertise !== 0) writeProperty(w, ETHERNET, (p) => p.u32(body.advertise));
      for (const bytes of body.unknown ?? []) w.raw(bytes);
    }
  },
};
