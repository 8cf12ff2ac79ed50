import { WeftError } from '../base/errors.ts';
import { problemsOf } from '../server/problem.ts';
import { locateProblems, readObjects, type SourceObject } from './documents.ts';
import type { Plan } from './plan.ts';
import type { Session } from './session.ts';

/** What `weft apply`, `weft diff` and `weft lab up` have in common. */
export interface ApplyRequest {
  readonly files: readonly string[];
  readonly applySet?: string;
  readonly prune?: boolean;
  readonly dryRun?: boolean;
}

export function applyFiles(session: Session, request: ApplyRequest): Promise<Plan> {
  return applyObjects(session, readObjects(request.files), request);
}

/** Error `invalid` or `conflict` with every problem and the place in the files that it comes from. */
export async function applyObjects(
  session: Session,
  sources: readonly SourceObject[],
  request: Omit<ApplyRequest, 'files'>,
): Promise<Plan> {
  if (sources.length === 0 && !request.prune)
    throw new WeftError('invalid', 'the files hold no objects; write documents with kind and name');
  const objects = sources.map(({ object }) => withTenant(object, session.tenant));
  try {
    return await session.client.post<Plan>('/v1/apply', {
      objects,
      ...(request.applySet === undefined ? {} : { applySet: request.applySet }),
      ...(request.prune ? { prune: true } : {}),
      ...(request.dryRun ? { dryRun: true } : {}),
    });
  } catch (error) {
    const problems = problemsOf(error);
    if (!(error instanceof WeftError) || problems.length === 0) throw error;
    const lines = locateProblems(problems, sources).map((line) => `  ${line}`);
    throw new WeftError(error.code, `nothing was applied:\n${lines.join('\n')}`, { cause: error });
  }
}

const OPERATORS_KINDS: ReadonlySet<string> = new Set(['tenant', 'tunnelZone', 'host']);

/** An object that names no tenant belongs to the one of the context or of `--tenant`. */
function withTenant(object: SourceObject['object'], tenant: string | undefined): SourceObject['object'] {
  if (tenant === undefined || OPERATORS_KINDS.has(object.kind) || object.tenant !== undefined) return object;
  return { ...object, tenant };
}
