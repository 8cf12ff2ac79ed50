import { isUtf8 } from 'node:buffer';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Document, isMap, isNode, isSeq, LineCounter, parseAllDocuments } from 'yaml';
import { WeftError } from '../base/errors.ts';
import { shown } from '../base/shown.ts';
import type { KindName } from '../model/kind.ts';
import type { Problem } from '../model/problem.ts';
import { MOST_OBJECTS_IN_REQUEST } from '../server/protocol.ts';
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

/** Of one document: where one bracket is missing, all that follows is wrong. */
const MOST_ERRORS = 10;

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
  if (path === '-') return [{ name: 'standard input', text: readText(0, 'standard input') }];
  if (!existsSync(path)) throw new WeftError('not-found', `there is no file ${path}`);
  if (!statSync(path).isDirectory()) return [{ name: path, text: readText(path, path) }];
  const names = readdirSync(path)
    .filter((name) => /\.(ya?ml|json)$/.test(name))
    .sort();
  if (names.length === 0) throw new WeftError('not-found', `${path} has no .yaml, .yml or .json files`);
  return names.map((name) => ({ name: join(path, name), text: readText(join(path, name), join(path, name)) }));
}

/** Error `invalid` where it cannot be read, or is no text: what a parser would say of that helps nobody. */
function readText(file: string | number, name: string): string {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    throw new WeftError('invalid', `cannot read ${name}: ${(cause as Error).message}`, { cause });
  }
  const isText = isUtf8(bytes) && !bytes.includes(0);
  if (!isText) throw new WeftError('invalid', `${name} is no text in UTF-8; YAML or JSON is wanted`);
  return new TextDecoder().decode(bytes);
}

function parseSource(name: string, text: string, objects: SourceObject[], problems: FileProblem[]): void {
  const lines = new LineCounter();
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${name}:${line}:${col}`;
  };
  const count = (text.match(/^---/gm)?.length ?? 0) + 1;
  // The parser takes some 50 µs and 2 KB for each: a million and a half took it more than a minute.
  if (count > MOST_OBJECTS_IN_REQUEST)
    throw new WeftError(
      'invalid',
      `${name} has ${count} documents, more than ${MOST_OBJECTS_IN_REQUEST}: apply it in parts`,
    );
  const documents = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  if (!Array.isArray(documents)) return; // an empty file
  for (const document of documents) {
    if (document.errors.length > 0) {
      for (const error of document.errors.slice(0, MOST_ERRORS))
        problems.push({ at: at(error.pos[0]), message: `not YAML: ${yamlText(error.message)}` });
      const more = document.errors.length - MOST_ERRORS;
      if (more > 0)
        problems.push({ at: at(document.errors[MOST_ERRORS]!.pos[0]), message: `and ${more} more of these` });
      continue;
    }
    let value: unknown;
    try {
      value = document.toJS({ maxAliasCount: 100 });
    } catch (error) {
      // An alias of nothing, of itself, or of too much.
      problems.push({ at: at(offsetOf(document, [])), message: `not YAML: ${yamlText((error as Error).message)}` });
      continue;
    }
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

function yamlText(message: string): string {
  return message.startsWith('Maximum call stack') ? 'nested too deep' : shown(message, 200);
}

/** What is wrong with the envelope; the fields are the server's to check. */
function problemOf(value: unknown): { readonly path: string; readonly text: string } | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return {
      path: '',
      text: `an object with kind and name is wanted, not ${Array.isArray(value) ? 'a list' : shown(String(JSON.stringify(value)))}`,
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
  const odd = oddNumber(value, '');
  return odd && { path: odd.path, text: `${odd.path}: ${odd.number} is no number that can be sent` };
}

/** YAML's .nan and .inf: JSON has none, and the server would take the field as not given. */
function oddNumber(value: unknown, path: string): { readonly path: string; readonly number: number } | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : { path, number: value };
  if (typeof value !== 'object' || value === null) return undefined;
  for (const [key, inner] of Object.entries(value)) {
    const found = oddNumber(inner, Array.isArray(value) ? `${path}[${key}]` : path === '' ? key : `${path}.${key}`);
    if (found) return found;
  }
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
  if (!label.startsWith(`${object.kind} `)) return false;
  const text = label.slice(object.kind.length + 1);
  const name = shown(object.name);
  if (text === name) return true;
  if (!text.endsWith(`/${name}`)) return false;
  const [tenant, container] = text.slice(0, -name.length - 1).split('/');
  const within = kindOf(object.kind)?.nameWithin;
  if (container !== undefined && within !== undefined && String(object[within]).split('/').at(-1) !== container)
    return false;
  return object.tenant === undefined || tenant === shown(String(object.tenant));
}
