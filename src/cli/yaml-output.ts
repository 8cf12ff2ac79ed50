import { stringify } from 'yaml';
import { print } from './output.ts';

/** Apart from all other output: server and agent, which say nothing in YAML, need not hold its library. */
export function printYaml(...documents: readonly unknown[]): void {
  print(documents.map((document) => stringify(document, { lineWidth: 0 })).join('---\n'));
}
