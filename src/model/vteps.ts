import type { ModelIndex } from './model-index.ts';
import type { Outside } from './objects.ts';

/** The hosts where an outside can be, in order of preference, and whether it goes back to a better one. */
export function placesOf(
  index: ModelIndex,
  outside: Outside,
): { readonly hosts: readonly string[]; readonly failBack: boolean } {
  const source = outside.kind === 'vtepBinding' ? index.get('vtep', outside.vtep) : outside;
  return { hosts: source?.places.map(({ host }) => host) ?? [], failBack: source?.failBack ?? true };
}
