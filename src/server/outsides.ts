import type { ModelIndex } from '../model/model-index.ts';
import type { Presenter, StatusProblem } from './present.ts';

/** What agents say of L2 gateways, VTEPs and their bindings that is not well. */
export function outsideProblems(index: ModelIndex, present: Presenter): readonly StatusProblem[] {
  const problems: StatusProblem[] = [];
  for (const vtep of index.all('vtep')) {
    const about = { kind: 'vtep', id: vtep.id, name: vtep.name };
    for (const { host, state, problem } of present.vtepStatus(vtep).places)
      if (state === 'unreachable' || state === 'wrong')
        problems.push({ about, text: `VTEP ${vtep.name} at ${host}: ${problem ?? state}` });
  }
  for (const outside of [...index.all('l2Gateway'), ...index.all('vtepBinding')]) {
    const about = { kind: outside.kind, id: outside.id, name: outside.name };
    const what = outside.kind === 'l2Gateway' ? 'L2 gateway' : 'VTEP binding';
    for (const { host, state, problem } of outside.adminUp ? present.outsideStatus(outside).places : []) {
      const isWell = (state === 'up' && problem === undefined) || state === 'unknown';
      if (!isWell) problems.push({ about, text: `${what} ${outside.name} at ${host}: ${problem ?? state}` });
    }
  }
  return problems;
}
