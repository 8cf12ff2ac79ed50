import { createHash } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { listNamespaces } from '../../base/namespaces.ts';
import { run } from '../../frr/commands.ts';

/**
 * Where a speaker is: a network namespace, and in it one end of a veth pair for each router port that it shares. The
 * other end is an interface of the integration bridge.
 *
 *     br-int ── wb1a2b3c4d ═══ bg1a2b3c4d (MAC and addresses of the router port) ── namespace
 */
const INNER = 'bg';

export function namespaceOf(prefix: string, router: string): string {
  return `${prefix}${digest(router)}`;
}

export function interfacesOf(routerPort: string): { readonly outer: string; readonly inner: string } {
  const name = digest(routerPort);
  return { outer: `wb${name}`, inner: `${INNER}${name}` };
}

function digest(id: string): string {
  return createHash('sha256').update(id).digest('hex').slice(0, 8);
}

export interface SpeakerEnd {
  readonly id: string;
  readonly mac: string;
}

/**
 * Makes what is missing of a namespace and its interfaces; what is there stays, with the sessions that run over it. Gives the ends for the
 * bridge that are new.
 */
export async function preparePlace(
  namespace: string,
  ends: readonly SpeakerEnd[],
  isUserspace: boolean,
): Promise<readonly string[]> {
  if (!listNamespaces(namespace).includes(namespace)) await run(['ip', 'netns', 'add', namespace]);
  const there = new Set(await linksIn(namespace));
  const made: string[] = [];
  for (const { id, mac } of ends) {
    const { outer, inner } = interfacesOf(id);
    if (!there.has(inner)) {
      // Its other end is in a namespace without a name, which lives until the kernel gives up the last connection of a killed daemon.
      if (existsSync(settingOf(outer))) await run(['ip', 'link', 'del', outer]);
      await run(['ip', 'link', 'add', outer, 'type', 'veth', 'peer', 'name', inner, 'netns', namespace]);
      made.push(outer);
    }
    // The machine's own stack has no business on it.
    writeFileSync(settingOf(outer), '1');
    await run(['ip', '-n', namespace, 'link', 'set', inner, 'address', mac]);
    await run(['ip', 'link', 'set', outer, 'up']);
    // The userspace datapath hands checksums on as it finds them.
    if (!isUserspace) continue;
    await run(['ethtool', '-K', outer, 'tx', 'off']);
    await run(['ip', 'netns', 'exec', namespace, 'ethtool', '-K', inner, 'tx', 'off']);
  }
  return made;
}

function settingOf(device: string): string {
  return `/proc/sys/net/ipv6/conf/${device}/disable_ipv6`;
}

/** Takes away the interface of a router port that has no session any more; its other end goes with it. */
export async function removeEnd(namespace: string, routerPort: string): Promise<void> {
  const { inner } = interfacesOf(routerPort);
  if ((await linksIn(namespace)).includes(inner)) await run(['ip', '-n', namespace, 'link', 'del', inner]);
}

/** With all interfaces in it. No process must be left inside. */
export async function removeNamespace(namespace: string): Promise<void> {
  if (!listNamespaces(namespace).includes(namespace)) return;
  // The kernel may keep the namespace for a while without its name; the interfaces are needed elsewhere.
  for (const link of await linksIn(namespace))
    if (link.startsWith(INNER)) await run(['ip', '-n', namespace, 'link', 'del', link]);
  await run(['ip', 'netns', 'del', namespace]);
}

async function linksIn(namespace: string): Promise<readonly string[]> {
  const links = JSON.parse(await run(['ip', '-n', namespace, '-j', 'link', 'show'])) as { readonly ifname: string }[];
  return links.map(({ ifname }) => ifname);
}
