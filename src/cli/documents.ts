import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Document, isMap, isNode, isSeq, LineCounter, parseAllDocuments } from 'yaml';
import { WeftError } from '../base/errors.ts';
import type { KindName } from '../model/kind.ts';
import type { Problem } from '../model/problem.ts';
import { CLI_KINDS, kindOf, plurals } from './kinds.ts';
import { nearest } from './output.ts';
import { parsePath } from './paths.ts';

/**
 * Objects from YAML (or JSON) files: many documents a file, each one object or a list of objects. Every object knows
 * where it stands, so that whatever is wrong with it is named by file, line and column.
 */
export interface SourceObject {
  readonly object: { readonly kind: KindName; readonly name: string } & Readonly<Record<string, unknown>>;
  /** `file:line:column` of a field, of the nearest one around it, or of the object. */
  position(path: string): string;
}

/** A problem of a file that can be told without the server. */
interface FileProblem {
  readonly at: string;
  readonly message: string;
}

/** Reads files, folders (their *.yaml, *.yml and *.json in order of name) and `-`. Error `invalid` with every problem. */
export function readObjects(paths: readonly string[]): SourceObject[] {
  const objects: SourceObject[] = [];
  const problems: FileProblem[] = [];
  for (const { name, text } of paths.flatMap(readSources)) parseSource(name, text, objects, problems);
  if (problems.length > 0)
    throw new WeftError(
      'invalid',
      `nothing was applied:\n${problems.map(({ at, message }) => `  ${at}: ${message}`).join('\n')}`,
      { details: problems },
    );
  return objects;
}

/** For tests and for text that is no file. */
export function parseObjects(name: string, text: string): SourceObject[] {
  const objects: SourceObject[] = [];
  const problems: FileProblem[] = [];
  parseSource(name, text, objects, problems);
  if (problems.length > 0)
    throw new WeftError('invalid', problems.map(({ at, message }) => `${at}: ${message}`).join('\n'));
  return objects;
}

function readSources(path: string): { readonly name: string; readonly text: string }[] {
  if (path === '-') return [{ name: 'standard input', text: readFileSync(0, 'utf8') }];
  if (!existsSync(path)) throw new WeftError('not-found', `there is no file ${path}`);
  if (!statSync(path).isDirectory()) return [{ name: path, text: readFileSync(path, 'utf8') }];
  const names = readdirSync(path)
    .filter((name) => /\.(ya?ml|json)$/.test(name))
    .sort();
  if (names.length === 0) throw new WeftError('not-found', `${path} has no .yaml, .yml or .json files`);
  return names.map((name) => ({ name: join(path, name), text: readFileSync(join(path, name), 'utf8') }));
}

function parseSource(name: string, text: string, objects: SourceObject[], problems: FileProblem[]): void {
  const lines = new LineCounter();
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${name}:${line}:${col}`;
  };
  const documents = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  if (!Array.isArray(documents)) return; // an empty file
  for (const document of documents) {
    if (document.errors.length > 0) {
      for (const error of document.errors)
        problems.push({ at: at(error.pos[0]), message: `not YAML: ${error.message}` });
      continue;
    }
    const value: unknown = document.toJS({ maxAliasCount: 100 });
    if (value === null) continue; // nothing between two `---`
    const entries = isSeq(document.contents)
      ? (value as unknown[]).map((v, i) => ({ v, base: [i] }))
      : [{ v: value, base: [] }];
    for (const { v, base } of entries) {
      const position = (path: string): string => at(offsetOf(document, [...base, ...parsePath(path)]));
      const message = problemOf(v);
      if (message) problems.push({ at: position(message.path), message: message.text });
      else objects.push({ object: normalised(v as Record<string, unknown>), position });
    }
  }
}

/** What is wrong with the envelope; the fields are the server's to check. */
function problemOf(value: unknown): { readonly path: string; readonly text: string } | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return {
      path: '',
      text: `an object with kind and name is wanted, not ${Array.isArray(value) ? 'a list' : JSON.stringify(value)}`,
    };
  const { kind, name } = value as Record<string, unknown>;
  if (kind === undefined)
    return { path: '', text: `the object has no kind (one of ${CLI_KINDS.map((k) => k.kind).join(', ')})` };
  if (typeof kind !== 'string' || !kindOf(kind)) {
    const near = nearest(
      String(kind).toLowerCase(),
      CLI_KINDS.map((k) => k.kind.toLowerCase()),
    );
    return {
      path: 'kind',
      text: `kind: there is no kind ${String(kind)}; ${near.length > 0 ? `did you mean ${near.join(' or ')}?` : `kinds: ${plurals()}`}`,
    };
  }
  if (name === undefined) return { path: '', text: `the ${kind} has no name` };
  if (typeof name !== 'string')
    return { path: 'name', text: `name: text is wanted; write "${String(name)}" in quotes` };
  return undefined;
}

function normalised(value: Record<string, unknown>): SourceObject['object'] {
  return { ...value, kind: kindOf(value.kind as string)!.kind, name: value.name as string };
}

/** Where the node at a path begins; where there is none, the nearest one around it that there is. */
function offsetOf(document: Document, steps: readonly (string | number)[]): number {
  let node: unknown = document.contents;
  let offset = isNode(node) ? (node.range?.[0] ?? 0) : 0;
  for (const step of steps) {
    if (isMap(node)) {
      const pair = node.items.find((item) => (isNode(item.key) ? String(item.key) : item.key) === String(step));
      if (!pair) break;
      if (isNode(pair.key)) offset = pair.key.range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(step)];
      if (isNode(node)) offset = node.range?.[0] ?? offset;
    } else break;
  }
  return offset;
}

/** How the server names an object in its problems: `port acme/web-1`, `rule acme/guard/10-dns`, `host east`. */
export function objectLabel(object: Readonly<Record<string, unknown>>): string {
  const tenant = typeof object.tenant === 'string' ? `${object.tenant}/` : '';
  return `${String(object.kind)} ${tenant}${String(object.name)}`;
}

/** The server's problems, each with its place in the files. */
export function locateProblems(problems: readonly Problem[], sources: readonly SourceObject[]): string[] {
  return problems.map((problem) => {
    const source = sources.find(({ object }) => namesObject(problem.object, object));
    const where = source ? `${source.position(problem.path)}: ` : '';
    const field = problem.path ? `${problem.path}: ` : '';
    const hint = problem.hint ? ` (${problem.hint})` : '';
    return `${where}${problem.object}: ${field}${problem.message}${hint}`;
  });
}

function namesObject(label: string, object: SourceObject['object']): boolean {
  const [kind, name = ''] = label.split(' ');
  if (kind !== object.kind) return false;
  const words = name.split('/');
  if (words.at(-1) !== object.name) return false;
  const within = kindOf(object.kind)?.nameWithin;
  if (words.length === 3 && within !== undefined && String(object[within]).split('/').at(-1) !== words[1]) return false;
  return words.length === 1 || object.tenant === undefined || words[0] === object.tenant;
}
