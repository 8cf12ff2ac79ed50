import type { Command } from 'commander';
import { print, say } from '../output.ts';
import { withSession } from '../session.ts';
import { patchHost } from './drain.ts';

export function register(program: Command): void {
  program
    .command('undrain')
    .description('after maintenance: a host that was drained is a gateway as before')
    .argument('<host>', 'name or id')
    .action((name: string, _options: unknown, command: Command) =>
      withSession(command, async (session) => {
        const host = await patchHost(name, { drain: false }, session);
        print(`${host.name} is not drained: it advertises again, and takes its part of the traffic with the outside`);
        say("'weft bgp' shows its sessions");
      }),
    );
}
