import { type Contribution, contribute, defineSink } from '../incremental/definitions.ts';

/** What a unit could compile only in part, by saying no more than it must: the agent reports it. */
export const problemSink = defineSink<string, readonly string[]>({
  name: 'problem',
  merge: (contributions) => contributions.map(({ value }) => value),
});

/** `about`: what the problem is with, for example an object's id. */
export function reportProblem(about: string, message: string): Contribution {
  return contribute(problemSink, about, message);
}
