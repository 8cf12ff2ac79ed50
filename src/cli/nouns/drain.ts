import type { Command } from 'commander';
import { DEFAULT_DRAIN_WAIT_S } from '../../model/gateways.ts';
import type { Host } from '../../model/objects.ts';
import { UsageError } from '../exit-codes.ts';
import { entryOf } from '../kinds.ts';
import { print, say } from '../output.ts';
import { fetchToChange } from '../requests.ts';
import { type Session, withSession } from '../session.ts';

export function register(program: Command): void {
  program
    .command('drain')
    .description('before maintenance: other gateways take the traffic with the outside over from this host')
    .argument('<host>', 'name or id')
    .option(
      '--wait <seconds>',
      `so long at most, up to 3600; the host keeps it (drainWaitS; default ${DEFAULT_DRAIN_WAIT_S})`,
    )
    .addHelpText(
      'after',
      `
The host tells its BGP peers that others go before it (RFC 8326), until nothing has come in by it for ten seconds or the wait is
over; then that it has nothing any more. No host sends out through it while there is another way.
What still comes is forwarded. Connections go on: they do not depend on the gateway. Workloads on the host stay there.
L2 gateways and bindings of VTEPs that are active on it move to another of their places that is up.
The same as 'drain: true' on the host; 'weft undrain <host>' takes it back.
`,
    )
    .action((host: string, options: { readonly wait?: string }, command: Command) =>
      withSession(command, (session) => drain(host, options.wait, session)),
    );
}

async function drain(name: string, wait: string | undefined, session: Session): Promise<void> {
  if (wait !== undefined && !/^\d+$/.test(wait)) throw new UsageError(`--wait takes seconds, not '${wait}'`);
  const set = { drain: true, ...(wait === undefined ? {} : { drainWaitS: Number(wait) }) };
  const { name: host, drainWaitS = DEFAULT_DRAIN_WAIT_S } = await patchHost(name, set, session);
  print(
    `${host} is drained: when nothing has come in by it for ten seconds, in ${drainWaitS} s at the latest, it advertises nothing more; traffic with the outside goes by others where there are any`,
  );
  say(
    `next: 'weft sync --wait', 'weft status'; stop the host after that, when its peers send nothing more; then 'weft undrain ${host}'`,
  );
}

/** What the host is then. */
export async function patchHost(name: string, set: Partial<Host>, session: Session): Promise<Host> {
  const { id } = await fetchToChange(session, entryOf('host'), name);
  return (await session.client.request<Host>('PATCH', `/v1/hosts/${id}`, { body: set })).body;
}
