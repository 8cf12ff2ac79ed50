import type { Command } from 'commander';
import { entryOf } from '../kinds.ts';
import { print, say } from '../output.ts';
import { fetchObject } from '../requests.ts';
import { type Session, withSession } from '../session.ts';

export function register(program: Command): void {
  program
    .command('drain')
    .description('before maintenance: other gateways take the traffic with the outside over from this host')
    .argument('<host>', 'name or id')
    .addHelpText(
      'after',
      `
The host tells its BGP peers for thirty seconds that others go before it (RFC 8326), then that it has nothing any more; no host
sends out through it while there is another way.
What still comes is forwarded. Connections go on: they do not depend on the gateway. Workloads on the host stay there.
The same as 'drain: true' on the host; 'weft undrain <host>' takes it back.
`,
    )
    .action((host: string, _options: unknown, command: Command) =>
      withSession(command, (session) => drain(host, session)),
    );
}

async function drain(name: string, session: Session): Promise<void> {
  const host = await setDrain(name, true, session);
  print(
    `${host.name} is drained: in thirty seconds it advertises nothing more; traffic with the outside goes by others where there are any`,
  );
  say(
    `next: 'weft sync --wait', 'weft status'; stop the host after that, when its peers send nothing more; then 'weft undrain ${host.name}'`,
  );
}

export async function setDrain(name: string, isDrained: boolean, session: Session): Promise<{ readonly name: string }> {
  const host = await fetchObject(session, entryOf('host'), name);
  await session.client.request('PATCH', `/v1/hosts/${host.id}`, { body: { drain: isDrained } });
  return host;
}
