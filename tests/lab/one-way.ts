import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { type PacketStream, startStream } from '../../src/lab/packet-stream.ts';
import { sleep } from './datacentre.ts';
import type { TwoGateways } from './two-gateways.ts';

/** Outwards; two addresses go by one gateway, whatever their ports, so each goes to an address of its own. */
const OUT_STREAMS = 6;
/** What a gateway has sent to its upstream router is counted by the wire's other end. */
const SENT = '/sys/class/net/u-up-1/statistics/tx_packets';

export interface OneWayPlan {
  /** Of web-1, where it is asked for outside. */
  readonly floating: string;
  /** The client's network: its first part, to which 201 and more are added, and its length. */
  readonly network: { readonly start: string; readonly bits: number };
}

/** Numbered UDP of nobody who answers: from the client to web-1, and from web-1 to several addresses of the client. */
export class OneWay {
  readonly #site: TwoGateways;
  readonly #floating: string;
  readonly #clients: readonly string[];

  private constructor(site: TwoGateways, floating: string, clients: readonly string[]) {
    this.#site = site;
    this.#floating = floating;
    this.#clients = clients;
  }

  /** Gives the client its addresses. */
  static async at(site: TwoGateways, { floating, network: { start, bits } }: OneWayPlan): Promise<OneWay> {
    const clients = Array.from({ length: OUT_STREAMS }, (_, n) => `${start}${201 + n}`);
    for (const client of clients) {
      const flags = client.includes(':') ? ['nodad'] : [];
      await site.lab.execOk('client', ['ip', 'addr', 'add', `${client}/${bits}`, 'dev', 'eth0', ...flags]);
    }
    return new OneWay(site, floating, clients);
  }

  /** By name: `in`, `out 0` and so on, from this port up; so many packets a second inwards, and of all outward ones together. */
  async start(port: number, pps: { readonly in: number; readonly out: number }): Promise<Map<string, PacketStream>> {
    const { lab } = this.#site;
    const inward = { from: 'client', to: 'web-1', address: this.#floating, port, pps: pps.in };
    const streams = new Map([['in', await startStream(lab, inward)]]);
    for (const [n, address] of this.#clients.entries()) {
      const outward = { from: 'web-1', to: 'client', address, port: port + 1 + n, pps: pps.out / OUT_STREAMS };
      streams.set(`out ${n}`, await startStream(lab, outward));
    }
    return streams;
  }

  /** As `start`, where gw-1 is to die: all that comes in does by it, and of what goes out at least one stream. */
  async startByFirst(t: TestContext, port: number, pps: number): Promise<Map<string, PacketStream>> {
    await this.#site.lab.sendVia('client', ['up-1']);
    const others = await this.#sentInSecond();
    const streams = await this.start(port, { in: pps, out: pps });
    const part = (await this.#sentInSecond()) - others;
    t.diagnostic(`${part} packets a second of these streams go out by gw-1`);
    assert.ok(part > pps / OUT_STREAMS / 2, `${part} packets a second: no stream goes out by gw-1`);
    return streams;
  }

  async #sentInSecond(): Promise<number> {
    const sent = async (): Promise<number> => Number(await this.#site.lab.execOk('gw-1', ['cat', SENT]));
    const before = await sent();
    await sleep(1000);
    return (await sent()) - before;
  }
}

/** Ends them; the longest time without a packet of each, in milliseconds. */
export async function longestGaps(
  t: TestContext,
  when: string,
  streams: ReadonlyMap<string, PacketStream>,
): Promise<Map<string, number>> {
  const gaps = new Map<string, number>();
  for (const [way, stream] of streams) {
    const { sent, lost, longestGapMs, pps } = await stream.stop();
    t.diagnostic(`${when}, one-way UDP ${way}: ${JSON.stringify({ sent, lost, longestGapMs, pps })}`);
    assert.ok(sent > 0, `${way}: nothing was sent`);
    gaps.set(way, longestGapMs);
  }
  return gaps;
}
