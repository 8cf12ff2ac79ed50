import { fileURLToPath } from 'node:url';
import type { Lab } from '../../src/lab/lab.ts';
import { eventually, sleep } from './datacentre.ts';

/** UDP sockets in workloads that say of every datagram what came of it (datagram-end.ts). */
const END = fileURLToPath(new URL('datagram-end.ts', import.meta.url));

export interface Datagram {
  readonly bytes: number;
  /** As the receiver saw its sender. */
  readonly address: string;
  readonly port: number;
  /** `spoilt`: not what was sent. */
  readonly state: string;
}

export interface DatagramEnd {
  /** What came since it was asked last, once there is as much; what there is after `waitMs`. */
  heard(wanted: number, waitMs?: number): Promise<readonly Datagram[]>;
  send(address: string, port: number, bytes: number): void;
}

export async function openDatagrams(lab: Lab, place: string, port: number): Promise<DatagramEnd> {
  const child = lab.spawn(place, [process.execPath, END, String(port)]);
  let said = '';
  child.stdout!.on('data', (text) => {
    said += String(text);
  });
  await eventually(`${place} to listen at ${port}`, 10_000, async () => said.includes('ready'));
  let asked = 0;
  const all = (): Datagram[] =>
    [...said.matchAll(/^got (\d+) (\S+) (\d+) (\w+)$/gm)].map(([, bytes, address, from, state]) => ({
      ...{ bytes: Number(bytes), address: address!, port: Number(from), state: state! },
    }));
  return {
    async heard(wanted, waitMs = 5_000) {
      const until = performance.now() + waitMs;
      while (all().length - asked < wanted && performance.now() < until) await sleep(20);
      const news = all().slice(asked);
      asked += news.length;
      return news;
    },
    send: (address, to, bytes) => void child.stdin!.write(`${address} ${to} ${bytes}\n`),
  };
}
