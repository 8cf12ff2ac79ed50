import { formatFlow } from '../../openflow/text/flow.ts';
import { createCompiler } from '../compiler.ts';
import type { CompiledFlow } from '../flow-sink.ts';
import type { InputRecord } from '../inputs.ts';

/** Flows as `ovs-ofctl` writes them, the way people read them: by table, from the highest priority down, without cookies. */
export function goldenLines(flows: Iterable<CompiledFlow>): string[] {
  const lines = [...flows].map((flow) => {
    const text = formatFlow({ ...flow, cookie: 0n })
      .replace(/^cookie=0x0, /, '')
      .replace(/^table=\d+, /, '');
    return { flow, text: flow.reason === undefined ? text : `${text}  # ${flow.reason}` };
  });
  lines.sort(
    (a, b) =>
      a.flow.table - b.flow.table ||
      b.flow.priority - a.flow.priority ||
      (a.text < b.text ? -1 : a.text > b.text ? 1 : 0),
  );
  return lines.map(({ flow, text }) => `${String(flow.table).padStart(2)} ${text}`);
}

/** What records compile to. `units`: only flows of these families; all otherwise. */
export function compiledFlows(records: readonly InputRecord[], families?: readonly string[]): CompiledFlow[] {
  const compiler = createCompiler();
  compiler.update(records.map((record) => ({ op: 'put', record })));
  const flows = [...compiler.compiled()];
  if (families === undefined) return flows;
  return flows.filter(({ units }) => units.some((unit) => families.includes(unit.slice(0, unit.indexOf('/')))));
}
