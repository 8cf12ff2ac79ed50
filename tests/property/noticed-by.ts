import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';

/**
 * Which of many random cases notices a fault: one that is known to (by its number) is asked first, so that not all before it have to be. Where that one
 * does not, any other may, and the test says which, to be written down. Fails where none does.
 */
export function assertNoticed<Case>(
  t: TestContext,
  cases: readonly Case[],
  known: number | undefined,
  notices: (one: Case) => boolean,
): void {
  if (known !== undefined && cases[known] !== undefined && notices(cases[known])) return;
  const at = cases.findIndex(notices);
  assert.ok(at >= 0, `none of ${cases.length} cases notices it`);
  if (at > MANY) t.diagnostic(`NOTICED_BY: '${t.name}': ${at}`);
}

/** So many are asked in no time. */
const MANY = 10;
