import type { Command } from 'commander';
import type { BgpRoute, BgpRouter } from '../../server/bgp.ts';
import { EXIT, UsageError } from '../exit-codes.ts';
import { bold, dim, formatTable, green, outputOption, print, printJson, red, say, yellow } from '../output.ts';
import { type Session, splitName, withSession } from '../session.ts';
import { ageText } from '../times.ts';

interface BgpOptions {
  readonly routes?: boolean;
  readonly advertised?: boolean;
  readonly to?: string;
  readonly output: string;
}

export function register(program: Command): void {
  program
    .command('bgp')
    .description('peers outside, what routers tell them, and what they learned')
    .argument('[router]', 'only this router')
    .option('-t, --tenant <name>', 'only routers of this tenant')
    .option('--advertised', 'what each router advertises, and why')
    .option('--routes', 'learned routes of the router, and why one is not used')
    .option('--to <network>', 'with --routes: only those to exactly this network')
    .addOption(outputOption(['text', 'json']))
    .addHelpText('after', '\nExit 7 when a session that should be up is not.\n')
    .action((router: string | undefined, options: BgpOptions, command: Command) =>
      withSession(command, (session) => bgp(router, options, session)),
    );
}

async function bgp(text: string | undefined, options: BgpOptions, session: Session): Promise<void> {
  const { name, tenant } = text === undefined ? { name: undefined, ...session } : splitName(text, session);
  const query = { ...(name === undefined ? {} : { router: name }), ...(tenant === undefined ? {} : { tenant }) };
  if (options.routes || options.to !== undefined) {
    if (name === undefined) throw new UsageError("--routes is about one router: 'weft bgp <router> --routes'");
    const to = options.to === undefined ? {} : { to: options.to };
    const { items } = await session.client.get<{ items: readonly BgpRoute[] }>('/v1/bgp/routes', {
      query: { ...query, ...to },
    });
    return options.output === 'json' ? printJson(items) : print(formatRoutes(items));
  }
  const { routers } = await session.client.get<{ routers: readonly BgpRouter[] }>('/v1/bgp', { query });
  const isDown = routers.some(({ peers }) => peers.some(({ adminUp, state }) => adminUp && state !== 'established'));
  process.exitCode = isDown ? EXIT.degraded : EXIT.ok;
  if (options.output === 'json') return printJson(routers);
  if (routers.length === 0) return print('no router speaks BGP');
  print(routers.map((router) => (options.advertised ? formatAdvertised(router) : formatRouter(router))).join('\n\n'));
  if (isDown) say("\nnext: 'weft describe bgp-peer <name>', 'weft status'");
}

export function formatRouter(router: BgpRouter): string {
  const { tenant, name, asn, routerId, gateways, drained, peers, learned, advertised } = router;
  const head = `${bold(`${tenant}/${name}`)} AS ${asn}${routerId === undefined ? '' : `, router id ${routerId}`}`;
  const hosts = gateways.map((host) => (drained.includes(host) ? yellow(`${host} (drained)`) : host));
  const at = hosts.length === 0 ? 'no gateway' : `at ${hosts.join(', ')}`;
  const now = Date.now();
  const rows = peers.flatMap((peer) => {
    const start = [peer.name, peer.address, String(peer.asn), peer.routerPort];
    if (!peer.adminUp) return [[...start, '', dim('admin-down'), '', '', '', '']];
    if (peer.sessions.length === 0) return [[...start, '', red('none'), '', '', '', 'no host runs it']];
    return peer.sessions.map((each) => [
      ...start,
      each.host,
      each.state === 'established' ? green(each.state) : yellow(each.state),
      ageText(now - each.sinceMs),
      each.refused ? `${each.accepted} (${each.refused} refused by accept)` : String(each.accepted),
      String(each.sent),
      each.problem ?? '',
    ]);
  });
  const header = ['PEER', 'ADDRESS', 'AS', 'PORT', 'HOST', 'STATE', 'SINCE', 'ACCEPTED', 'SENT', 'PROBLEM'];
  const tail = `${countText(learned, 'route')} learned, ${countText(advertised.length, 'network')} advertised`;
  return [`${head}, ${at}`, rows.length === 0 ? dim('no peers') : formatTable(header, rows), tail].join('\n');
}

function countText(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

function formatAdvertised({ tenant, name, advertised }: BgpRouter): string {
  const rows = advertised.map(({ network, why }) => [network, why]);
  return `${bold(`${tenant}/${name}`)}\n${rows.length === 0 ? dim('nothing') : formatTable(['NETWORK', 'WHY'], rows)}`;
}

export function formatRoutes(routes: readonly BgpRoute[]): string {
  if (routes.length === 0) return 'no learned routes';
  const rows = routes.map(({ to, host, via, unused }) => [
    to,
    via
      .map(({ address, routerPort, weight }) => `${address} (${routerPort}${weight === 1 ? '' : `, ${weight}`})`)
      .join(' '),
    host,
    unused === undefined ? green('used') : yellow(unused),
  ]);
  return formatTable(['NETWORK', 'VIA', 'LEARNED AT', 'USED'], rows);
}
