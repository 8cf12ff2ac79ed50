import type { Command } from 'commander';
import type { Lab } from '../lab/lab.ts';
import { DAEMONS, type Daemon } from '../lab/routing-daemons.ts';
import { UsageError } from './exit-codes.ts';
import { print, say } from './output.ts';

/** The part of `weft lab` that is about what lies outside: upstream routers, their daemons and sessions, clients. */
export function registerUpstreams(lab: Command, chosen: () => Promise<Lab>): void {
  const router = lab
    .command('router')
    .description(`a daemon of an upstream router, or (kill only) of a gateway host: ${DAEMONS.join(', ')}`);
  const onDaemon = (
    name: string,
    about: string,
    work: (it: Lab, router: string, daemon: Daemon) => Promise<void>,
  ): void => {
    router
      .command(`${name} <router> <daemon>`)
      .description(about)
      .action(async (place: string, daemon: string) => work(await chosen(), place, daemonOf(daemon)));
  };
  onDaemon('stop', 'end it', (it, place, daemon) => it.upstream(place).daemons.daemon(daemon).stop());
  onDaemon('kill', 'end it as a crash would; that of a gateway host its agent starts again', (it, place, daemon) =>
    it.killDaemon(place, daemon),
  );
  onDaemon('start', 'start it again', (it, place, daemon) => it.upstream(place).startDaemon(daemon));
  const session = lab.command('session').description('a BGP session, at the end of an upstream router');
  session
    .command('shut <router> <peer>')
    .description('close it and keep it closed; the link stays as it is')
    .action(async (place: string, peer: string) => (await chosen()).upstream(place).shutSession(peer));
  session
    .command('open <router> <peer>')
    .description('let it come back')
    .action(async (place: string, peer: string) => (await chosen()).upstream(place).openSession(peer));
  lab
    .command('vtysh <router> <command...>')
    .description("run a command of FRR's shell on an upstream router: vtysh up-1 show bgp summary")
    .passThroughOptions()
    .action(async (place: string, words: string[]) =>
      print((await (await chosen()).upstream(place).daemons.vtysh(words.join(' '))).trimEnd()),
    );
  lab
    .command('via <client> <router...>')
    .description('make a client outside use these upstream routers, equally')
    .action(async (client: string, routers: string[]) => {
      await (await chosen()).sendVia(client, routers);
      say(`${client} sends by ${routers.join(' and ')}`);
    });
}

export function isRouter(lab: Lab, place: string): boolean {
  return lab.spec.routers.some(({ name }) => name === place);
}

/** Rows of `weft lab status`: links of upstream routers, clients outside. */
export function upstreamRows(lab: Lab): string[][] {
  return [
    ...lab.spec.routers.flatMap((router) => [
      [router.name, 'internet', '', router.addresses.join(' ')],
      ...router.links.map((link) => [
        router.name,
        link.name === link.host ? link.host : `${link.host} (${link.name})`,
        lab.upstream(router.name).link(link.name).port ?? '(unplugged)',
        link.addresses.join(' '),
      ]),
    ]),
    ...lab.spec.outside.map((client) => [client.name, 'internet', '', client.addresses.join(' ')]),
  ];
}

function daemonOf(text: string): Daemon {
  const daemon = DAEMONS.find((name) => name === text);
  if (!daemon) throw new UsageError(`there is no daemon ${text}: ${DAEMONS.join(', ')}`);
  return daemon;
}
