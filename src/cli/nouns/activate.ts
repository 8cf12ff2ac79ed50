import type { Command } from 'commander';
import { entryOf } from '../kinds.ts';
import { print, say } from '../output.ts';
import { fetchToChange } from '../requests.ts';
import { type Session, titleOf, withSession } from '../session.ts';

export function register(program: Command): void {
  program
    .command('activate')
    .description("move a port's traffic to a host that has its interface (claims it)")
    .argument('<port>', 'name, tenant/name or id')
    .argument('<host>', 'one of the hosts that claim the port')
    .option('-t, --tenant <name>', 'tenant of the port')
    .action((port: string, host: string, _options: unknown, command: Command) =>
      withSession(command, (session) => activate(port, host, session)),
    );
}

async function activate(portName: string, hostName: string, session: Session): Promise<void> {
  const port = await fetchToChange(session, entryOf('port'), portName);
  const host = await fetchToChange(session, entryOf('host'), hostName);
  await session.client.post(`/v1/ports/${port.id}/activate`, { host: host.id });
  print(`${titleOf(port)} is active on ${host.name}`);
  say("'weft sync --wait' waits until every host sends there");
}
