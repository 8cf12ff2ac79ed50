import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { NamespaceDaemons } from '../../src/frr/daemons.ts';
import { runOk } from '../../src/lab/command.ts';
import { ipBatch, scriptIn } from '../../src/lab/namespaces.ts';
import type { Order } from './bgp-end.ts';

/** What stands at the other ends of a speaker's interfaces: namespaces joined to the speaker's by veths. */
export class Wires {
  readonly #names: string[] = [];

  /** A namespace whose name begins with `weft-` and is this process's own. */
  async namespace(name: string): Promise<string> {
    const full = `weft-frr${process.pid}${name}`;
    await ipBatch([`netns add ${full}`]);
    this.#names.push(full);
    const quiet = ['default', 'all'].map((i) => `echo 0 > /proc/sys/net/ipv6/conf/${i}/accept_dad`);
    await scriptIn(full, [...quiet, 'ip link set lo up']);
    return full;
  }

  /** A link between two namespaces; the near end is left without addresses, for the speaker to set. */
  async link(near: string, far: string, name: string, farAddresses: readonly string[]): Promise<void> {
    await ipBatch([`link add ${name} netns ${near} type veth peer name ${name} netns ${far}`]);
    const addresses = farAddresses.map((a) => `ip addr add ${a} dev ${name}${a.includes(':') ? ' nodad' : ''}`);
    await scriptIn(far, [...addresses, `ip link set ${name} up`]);
  }

  async remove(): Promise<void> {
    for (const name of this.#names) await runOk(['ip', 'netns', 'del', name]).catch(() => {});
  }
}

/** An upstream router: FRR with a configuration as a person would write it. */
export class Upstream {
  readonly daemons: NamespaceDaemons;

  private constructor(namespace: string) {
    this.daemons = new NamespaceDaemons({ namespace });
  }

  static async start(namespace: string, bgpd: string, bfdd = ''): Promise<Upstream> {
    const upstream = new Upstream(namespace);
    upstream.daemons.prepare();
    for (const [daemon, text] of [
      ['zebra', ''],
      ['bfdd', bfdd],
      ['bgpd', bgpd],
    ] as const) {
      upstream.daemons.writeConfig(daemon, text);
      await upstream.daemons.launch(daemon);
    }
    return upstream;
  }

  async ask(line: string): Promise<string> {
    const vty = await this.daemons.openVty('bgpd');
    try {
      return (await vty.send(line)).output;
    } finally {
      vty.close();
    }
  }

  /** Prefixes that a neighbor has told, with the communities and AS path of each. */
  async learnedFrom(neighbor: string, family: 'ipv4' | 'ipv6' = 'ipv4'): Promise<string[]> {
    const answer = JSON.parse(await this.ask(`show bgp ${family} unicast neighbors ${neighbor} routes json`)) as {
      routes?: Record<string, unknown>;
    };
    return Object.keys(answer.routes ?? {}).sort();
  }

  async stop(): Promise<void> {
    for (const daemon of ['bgpd', 'bfdd', 'zebra'] as const) await this.daemons.end(daemon);
    this.daemons.forget();
  }
}

/** `bgp-end.ts` in a namespace. */
export class BgpEnd {
  readonly #child: ChildProcess;
  #lines: string[] = [];
  #rest = '';

  constructor(namespace: string, options: { readonly to: string; readonly asn: number; readonly routerId: string }) {
    const { to, asn, routerId } = options;
    const program = join(import.meta.dirname, 'bgp-end.ts');
    const argv = ['netns', 'exec', namespace, process.execPath, program, to, String(asn), routerId];
    this.#child = spawn('ip', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      const lines = (this.#rest + text).split('\n');
      this.#rest = lines.pop()!;
      this.#lines.push(...lines);
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** What it has written so far (see there). */
  get said(): readonly string[] {
    return this.#lines;
  }

  get isUp(): boolean {
    return this.#lines.lastIndexOf('established') > this.#lines.lastIndexOf('closed');
  }

  do(order: Order): void {
    this.#child.stdin!.write(`${JSON.stringify(order)}\n`);
  }

  /** Ends the session, as a peer that shuts down does. */
  stop(): void {
    this.#child.stdin!.end();
  }
}
