import { readdirSync } from 'node:fs';

/** Where `ip netns` keeps its names. */
export const NAMESPACES_DIR = '/run/netns';

/** Network namespaces of this machine whose names begin so, sorted. */
export function listNamespaces(prefix: string): string[] {
  try {
    return readdirSync(NAMESPACES_DIR)
      .filter((name) => name.startsWith(prefix))
      .sort();
  } catch {
    return []; // no namespace was ever made on this machine
  }
}
