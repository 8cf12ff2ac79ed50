/** A folder of labs in which a test file's own lab is the only one: for commands that name none. */
export const OWN_LABS = `/run/weft-test/${process.pid}`;

/**
 * Where labs of tests live: beside those of people, never among them. `./test` gives a folder of its own and removes
 * what a failed test left in it; a test that is run alone uses a folder named by its process.
 */
process.env.WEFT_LAB_DIR ??= OWN_LABS;

/** A lab's name that no other test of this machine uses at the same time; `prefix` is up to four letters. */
export function labName(prefix: string): string {
  return `${prefix}${process.pid % 10_000_000}`;
}

/** Why a test of the lab cannot run here, as node:test's `skip` takes it. */
export const needsRoot = process.getuid?.() === 0 ? false : 'needs root: it makes network namespaces';

/** Why the gate leaves a scenario out: what it is about has a shorter test there. */
export const byAll = process.env.WEFT_CAMPAIGN ? false : 'runs by ./test --all';
