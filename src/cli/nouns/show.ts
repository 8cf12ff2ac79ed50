import type { Command } from 'commander';
import { entryOf } from '../kinds.ts';
import { bold, dim, green, print, printJson, red, say, yellow } from '../output.ts';
import { cellText, valueAt } from '../paths.ts';
import { fetchObject, listObjects } from '../requests.ts';
import { type Session, type ShownObject, withSession } from '../session.ts';

interface ShowOptions {
  readonly output: string;
}

export function register(program: Command): void {
  program
    .command('show')
    .description('the network as a tree: tenants, their switches, the ports with addresses, host and state')
    .argument('[switch]', 'only this switch')
    .option('-t, --tenant <name>', 'only this tenant')
    .option('-o, --output <format>', 'text or json', 'text')
    .action((name: string | undefined, options: ShowOptions, command: Command) =>
      withSession(command, (session) => show(name, options, session)),
    );
}

async function show(name: string | undefined, options: ShowOptions, session: Session): Promise<void> {
  const only = name === undefined ? undefined : await fetchObject(session, entryOf('switch'), name);
  const inTenant = only ? { ...session, tenant: String(only.tenant) } : session;
  const [tenants, switches, ports] = await Promise.all([
    listObjects(inTenant, entryOf('tenant')),
    only ? [only] : listObjects(inTenant, entryOf('switch')),
    listObjects(inTenant, entryOf('port')),
  ]);
  const wanted = tenants.filter(
    (tenant) => inTenant.tenant === undefined || [tenant.name, tenant.id].includes(inTenant.tenant),
  );
  const tree = wanted.map((tenant) => ({
    tenant,
    switches: switches
      .filter((sw) => sw.tenant === tenant.name)
      .map((sw) => ({ switch: sw, ports: ports.filter((p) => p.tenant === tenant.name && p.switch === sw.name) })),
  }));
  if (options.output === 'json') return printJson(tree);
  if (tree.length === 0)
    return say("nothing is there yet; 'weft apply -f examples/first-network.yaml' makes a network");
  print(formatTree(tree));
  say(dim("\n'weft describe port NAME' tells more of one, 'weft trace A B' what would happen between two"));
}

interface TenantTree {
  readonly tenant: ShownObject;
  readonly switches: readonly { readonly switch: ShownObject; readonly ports: readonly ShownObject[] }[];
}

/** Exported for its test. */
export function formatTree(tree: readonly TenantTree[]): string {
  const lines: string[] = [];
  for (const { tenant, switches } of tree) {
    lines.push(bold(tenant.name));
    for (const [i, { switch: sw, ports }] of switches.entries()) {
      const isLast = i === switches.length - 1;
      lines.push(`${isLast ? '└─' : '├─'} ${switchLine(sw)}`);
      lines.push(
        ...portLines(ports).map(
          (line, j, all) => `${isLast ? '   ' : '│  '}${j === all.length - 1 ? '└─' : '├─'} ${line}`,
        ),
      );
    }
    if (switches.length === 0) lines.push(dim('└─ no switches'));
  }
  return lines.join('\n');
}

function switchLine(sw: ShownObject): string {
  const notes = [
    cellText(valueAt(sw, 'subnets[].cidr')).replaceAll(',', ' '),
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
  const widths = cells[0]!.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  return ports.map(
    (port, i) => `${cells[i]!.map((cell, column) => cell.padEnd(widths[column]!)).join('  ')}  ${stateText(port)}`,
  );
}

/** A port's state as people read it. */
export function stateText(port: ShownObject): string {
  if (port.adminUp === false) return yellow('down');
  const state = String(port.status?.state ?? 'unknown');
  if (state === 'installed') return green('up');
  return state === 'unbound' || state === 'pending' ? yellow(state) : red(state);
}
