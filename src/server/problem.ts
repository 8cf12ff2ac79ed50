import { type ErrorCode, WeftError } from '../base/errors.ts';
import type { Problem } from '../model/problem.ts';

/** RFC 9457 problem details as this server sends them. Types and one table; both sides use it. */
export interface ProblemDetails {
  /** A stable URI reference of the error code, such as `/problems/conflict`. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: ErrorCode;
  /** Everything that is wrong with the request, not only the first. */
  readonly problems?: readonly Problem[];
}

export const PROBLEM_CONTENT_TYPE = 'application/problem+json';

const STATUS_OF: Record<ErrorCode, number> = {
  aborted: 499,
  busy: 503,
  closed: 502,
  compacted: 410,
  conflict: 409,
  denied: 403,
  full: 507,
  invalid: 422,
  'not-found': 404,
  protocol: 400,
  refused: 502,
  timeout: 504,
  unreachable: 502,
};

export function statusOf(code: ErrorCode): number {
  return STATUS_OF[code];
}

/** The problem details of an error; `status` where the code alone does not tell it (401, 412, 413). */
export function problemDetailsOf(error: WeftError, status: number = statusOf(error.code)): ProblemDetails {
  const problems = problemsOf(error);
  return {
    type: `/problems/${error.code}`,
    title: error.code,
    status,
    detail: error.message,
    code: error.code,
    ...(problems.length > 0 ? { problems } : {}),
  };
}

/** The problems that an error of this server or of the model carries; empty where it has none. */
export function problemsOf(error: unknown): readonly Problem[] {
  if (!(error instanceof WeftError)) return [];
  const { details } = error;
  if (typeof details !== 'object' || details === null || !('problems' in details)) return [];
  return Array.isArray(details.problems) ? (details.problems as Problem[]) : [];
}
