import type { z } from 'zod';
import { problemsOfZod } from '../../model/parse.ts';
import { problemsError } from '../../model/problem.ts';

/** A query string by its schema; throws `invalid` with every problem, names that it does not have among them. */
export function parseQuery<S extends z.ZodObject>(schema: S, query: unknown): z.output<S> {
  const parsed = (schema.strict() as unknown as S).safeParse(query);
  if (parsed.success) return parsed.data;
  throw problemsError(problemsOfZod(parsed.error, 'query', Object.keys(schema.shape)));
}
