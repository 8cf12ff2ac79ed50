import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WeftError } from '../base/errors.ts';
import type { Lab } from './lab.ts';
import { WORKLOAD_INTERFACE } from './workload.ts';

/** What a real DHCPv6 client (WIDE dhcp6c) was told in one reply. */
export type Reply6 = {
  /** The message that it answers. */
  readonly to: 'request' | 'renew' | 'rebind' | 'information request' | 'release';
  /** Also configured on the interface, as /128: prefixes on the link are the router advertisement's matter. */
  readonly addresses: readonly string[];
  readonly dns: readonly string[];
  /** With the final dot. */
  readonly domains: readonly string[];
  /** When the client renews, in seconds; absent without addresses. */
  readonly renewAfterSeconds: number | undefined;
};

export type Dhcp6Client = {
  /** The reply of that number, from 0 on, as soon as there is one. Error: `timeout`. */
  reply(number: number, timeoutMs?: number): Promise<Reply6>;
  /** Gives the addresses back and ends. */
  stop(): Promise<void>;
};

/**
 * Runs dhcp6c in a workload until it is stopped; it renews as it is told. `isStateless`: asks for settings only
 * (RFC 8415 §18.2.6), an address comes from elsewhere.
 */
export function startDhcp6c(lab: Lab, workload: string, { isStateless = false } = {}): Dhcp6Client {
  const folder = mkdtempSync(join(tmpdir(), 'weft-dhcp6c-'));
  const file = join(folder, 'conf');
  const wish = isStateless ? 'information-only;' : 'send ia-na 0;';
  const association = isStateless ? '' : 'id-assoc na 0 { };\n';
  const settings = 'request domain-name-servers; request domain-name;';
  writeFileSync(file, `interface ${WORKLOAD_INTERFACE} { ${wish} ${settings} };\n${association}`);
  const argv = ['dhcp6c', '-f', '-D', '-c', file, '-p', join(folder, 'pid'), WORKLOAD_INTERFACE];
  const child = lab.spawn(workload, argv);
  let log = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (text: Buffer) => {
      log += text.toString();
    });
  const ended = new Promise<void>((resolve) => {
    child.on('error', () => resolve());
    child.on('close', () => resolve());
  });
  return {
    async reply(number, timeoutMs = 10_000) {
      const until = performance.now() + timeoutMs;
      for (;;) {
        const reply = repliesIn(log)[number];
        if (reply) return reply;
        if (performance.now() > until || child.exitCode !== null)
          throw new WeftError('timeout', `${workload}: no reply ${number} of DHCPv6: ${log.slice(-1000)}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    async stop() {
      child.kill('SIGTERM');
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The replies that a log (`-D`) tells of, in order. */
export function repliesIn(log: string): Reply6[] {
  const [, ...exchanges] = log.split(/client6_send: send (?=[a-z ]+ to )/);
  return exchanges.flatMap((exchange): Reply6[] => {
    const [to = ''] = exchange.split(' to ', 1);
    const [, reply = ''] = exchange.split('client6_recv: receive reply', 2);
    if (!/got an expected reply/.test(reply)) return [];
    const all = (pattern: RegExp): string[] => [...reply.matchAll(pattern)].map((match) => match[1]!);
    const [renewAfter] = all(/IA_NA: ID=\d+, T1=(\d+)/g);
    return [
      {
        to: to as Reply6['to'],
        addresses: all(/IA_NA address: (\S+)/g),
        dns: all(/nameserver\[\d+\] (\S+)/g),
        domains: all(/Domain search list\[\d+\] (\S+)/g),
        renewAfterSeconds: renewAfter === undefined ? undefined : Number(renewAfter),
      },
    ];
  });
}
