import type { PlannedChange } from '../server/apply.ts';
import { bold, dim, green, red, yellow } from './output.ts';
import { inlineText } from './paths.ts';

/** What `POST /v1/apply` answers, for a dry run and for a real one. */
export interface Plan {
  readonly revision: number;
  readonly changes: readonly PlannedChange[];
}

export function changeTitle(change: PlannedChange): string {
  const parts = [change.tenant, change.within, change.name].filter((part) => part !== undefined);
  return `${change.kind} ${parts.join('/')}`;
}

const DONE = { create: 'created', update: 'changed', delete: 'deleted', unchanged: 'unchanged' } as const;
const MARK = { create: '+', update: '~', delete: '-', unchanged: ' ' } as const;
const PAINT = { create: green, update: yellow, delete: red, unchanged: dim } as const;

/** One line per object: `port acme/web-1 created`. */
export function formatResult(plan: Plan): string {
  const width = Math.max(0, ...plan.changes.map((change) => changeTitle(change).length));
  return plan.changes
    .map((change) => {
      const fields = change.action === 'update' ? `  ${change.changes.map((c) => c.path).join(', ')}` : '';
      return `${changeTitle(change).padEnd(width)}  ${PAINT[change.action](DONE[change.action])}${fields}`;
    })
    .join('\n');
}

/** What would change, field by field; objects that stay as they are are not shown. */
export function formatDiff(plan: Plan): string {
  const lines: string[] = [];
  for (const change of plan.changes) {
    if (change.action === 'unchanged') continue;
    lines.push(PAINT[change.action](`${MARK[change.action]} ${bold(changeTitle(change))}`));
    if (change.action === 'delete') continue;
    for (const { path, before, after, isAllocated } of change.changes) {
      if (path === 'name') continue;
      if (change.action === 'create')
        lines.push(`    ${path}: ${isAllocated ? dim('(allocated)') : inlineText(after)}`);
      else lines.push(`    ${path}: ${red(inlineText(before))} → ${green(inlineText(after))}`);
    }
  }
  return lines.join('\n');
}

/** `2 created, 1 changed, 5 unchanged`. */
export function summaryOf(plan: Plan): string {
  const counts = (Object.keys(DONE) as (keyof typeof DONE)[])
    .map((action) => [DONE[action], plan.changes.filter((change) => change.action === action).length] as const)
    .filter(([, count]) => count > 0);
  return counts.length === 0 ? 'nothing' : counts.map(([word, count]) => `${count} ${word}`).join(', ');
}

export function hasDifferences(plan: Plan): boolean {
  return plan.changes.some((change) => change.action !== 'unchanged');
}
