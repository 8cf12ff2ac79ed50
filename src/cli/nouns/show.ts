import type { Command } from 'commander';
import type { KindName } from '../../model/kind.ts';
import type { LoadBalancer, Router } from '../../model/objects.ts';
import { entryOf } from '../kinds.ts';
import { bold, dim, green, outputOption, print, printJson, red, say, yellow } from '../output.ts';
import { cellText, valueAt } from '../paths.ts';
import { fetchObject, listObjects } from '../requests.ts';
import { type Session, type ShownObject, withSession } from '../session.ts';

interface ShowOptions {
  readonly output: string;
}

export function register(program: Command): void {
  program
    .command('show')
    .description('the network as a tree: tenants, their switches with ports, and their routers')
    .argument('[switch]', 'only this switch')
    .option('-t, --tenant <name>', 'only this tenant')
    .addOption(outputOption(['text', 'json']))
    .action((name: string | undefined, options: ShowOptions, command: Command) =>
      withSession(command, (session) => show(name, options, session)),
    );
}

async function show(name: string | undefined, options: ShowOptions, session: Session): Promise<void> {
  const only = name === undefined ? undefined : await fetchObject(session, entryOf('switch'), name);
  const inTenant = only ? { ...session, tenant: String(only.tenant) } : session;
  const list = (kind: KindName): Promise<readonly ShownObject[]> => listObjects(inTenant, entryOf(kind));
  const [tenants, switches, ports, balancers, routers, routerPorts, floating] = await Promise.all([
    list('tenant'),
    only ? [only] : list('switch'),
    list('port'),
    list('loadBalancer'),
    ...(['router', 'routerPort', 'floatingAddress'] as const).map((kind) => (only ? [] : list(kind))),
  ]);
  const wanted = tenants.filter(
    (tenant) => inTenant.tenant === undefined || [tenant.name, tenant.id].includes(inTenant.tenant),
  );
  const tree = wanted.map((tenant): TenantTree => {
    const own = (objects: readonly ShownObject[] = []) => objects.filter((object) => object.tenant === tenant.name);
    const within = (objects: readonly ShownObject[] | undefined, field: string, device: ShownObject) =>
      own(objects).filter((object) => object[field] === device.name);
    return {
      tenant,
      switches: own(switches).map((sw) => ({
        switch: sw,
        ports: within(ports, 'switch', sw),
        balancers: within(balancers, 'switch', sw),
      })),
      routers: own(routers).map((router) => ({
        router,
        ports: within(routerPorts, 'router', router),
        floating: within(floating, 'router', router),
        balancers: within(balancers, 'router', router),
      })),
    };
  });
  if (options.output === 'json') return printJson(tree);
  if (tree.length === 0)
    return say("nothing is there yet; 'weft apply -f examples/first-network.yaml' makes a network");
  print(formatTree(tree));
  say(dim("\n'weft describe port NAME' tells more of one, 'weft trace A B' what would happen between two"));
}

export interface TenantTree {
  readonly tenant: ShownObject;
  readonly switches: readonly {
    readonly switch: ShownObject;
    readonly ports: readonly ShownObject[];
    readonly balancers: readonly ShownObject[];
  }[];
  readonly routers: readonly {
    readonly router: ShownObject;
    readonly ports: readonly ShownObject[];
    readonly floating: readonly ShownObject[];
    readonly balancers: readonly ShownObject[];
  }[];
}

/** Exported for its test. */
export function formatTree(tree: readonly TenantTree[]): string {
  const lines: string[] = [];
  for (const { tenant, switches, routers } of tree) {
    lines.push(bold(tenant.name));
    const devices = [
      ...switches.map(({ switch: sw, ports, balancers }) => ({
        title: switchLine(sw),
        contents: [...portLines(ports), ...balancers.map(balancerLine)],
      })),
      ...routers.map(({ router, ports, floating, balancers }) => ({
        title: routerLine(router),
        contents: [
          ...routerPortLines(ports),
          ...routeLines(router),
          ...floating.map(floatingLine),
          ...balancers.map(balancerLine),
        ],
      })),
    ];
    for (const [i, { title, contents }] of devices.entries()) {
      const isLast = i === devices.length - 1;
      lines.push(`${isLast ? '└─' : '├─'} ${title}`);
      for (const [j, line] of contents.entries())
        lines.push(`${isLast ? '   ' : '│  '}${j === contents.length - 1 ? '└─' : '├─'} ${line}`);
    }
    if (devices.length === 0) lines.push(dim('└─ no switches'));
  }
  return lines.join('\n');
}

function switchLine(sw: ShownObject): string {
  const notes = [
    cellText(valueAt(sw, 'subnets[].cidr')).replaceAll(',', ' '),
    ...(sw.shared ? ['shared'] : []),
    ...(sw.vlanAware ? ['VLAN-aware'] : []),
    ...(sw.adminUp === false ? [red('down')] : []),
  ];
  return `${bold(sw.name)}  ${notes.join('  ')}`;
}

function portLines(ports: readonly ShownObject[]): string[] {
  if (ports.length === 0) return [dim('no ports')];
  const cells = ports.map((port) => [
    port.name,
    String(port.mac ?? '-'),
    cellText(port.addresses).replaceAll(',', ' '),
    String(port.status?.host ?? '-'),
  ]);
  return aligned(cells).map((line, i) => `${line}  ${stateText(ports[i]!)}`);
}

function routerLine(router: ShownObject): string {
  return `router ${bold(router.name)}${router.adminUp === false ? `  ${red('down')}` : ''}`;
}

function routerPortLines(ports: readonly ShownObject[]): string[] {
  if (ports.length === 0) return [dim('no ports')];
  const cells = ports.map((port) => [
    port.name,
    cellText(port.addresses).replaceAll(',', ' '),
    port.switch !== undefined ? `switch ${port.switch}` : port.peer !== undefined ? `peer ${port.peer}` : 'open end',
  ]);
  return aligned(cells).map((line, i) => {
    const { outside, adminUp } = ports[i]!;
    return [line.trimEnd(), ...(outside ? ['outside'] : []), ...(adminUp === false ? [yellow('down')] : [])].join('  ');
  });
}

function routeLines(router: ShownObject): string[] {
  const { routes, snat } = router as unknown as Pick<Router, 'routes' | 'snat'>;
  return [
    ...routes.map(({ to, via, action }) => `route ${to} ${via === undefined ? action : `via ${via}`}`),
    ...snat.map(({ from, to }) => `snat ${from} → ${[to].flat().join(' ')}`),
  ];
}

function floatingLine({ address, port, status }: ShownObject): string {
  const host = status?.host === undefined ? '' : `  ${status.host}`;
  return `floating ${address} → ${port}${host}  ${stateText({ status } as ShownObject)}`;
}

function balancerLine(balancer: ShownObject): string {
  const { listeners, adminUp, status } = balancer as unknown as LoadBalancer & Pick<ShownObject, 'status'>;
  const services = listeners
    .map(({ protocol, port, adminUp: isUp }) => `${protocol}/${port}${isUp === false ? ' (down)' : ''}`)
    .join(' ');
  const healthy = adminUp ? `${status?.healthy ?? '-'} serve` : yellow('down');
  return `balancer ${balancer.name}  ${balancer.address} ${services}  ${healthy}`;
}

/** Cells in columns, padded. */
function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column]!)).join('  '));
}

/** A port's state as people read it. */
export function stateText(port: ShownObject): string {
  if (port.adminUp === false) return yellow('down');
  const state = String(port.status?.state ?? 'unknown');
  if (state === 'installed') return green('up');
  return state === 'unbound' || state === 'pending' ? yellow(state) : red(state);
}
