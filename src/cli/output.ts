import { Option } from 'commander';
import { UsageError } from './exit-codes.ts';

/** Data goes to stdout, everything else to stderr; colour only on a terminal that wants it (NO_COLOR is honoured). */
export const OUTPUT_FORMATS = ['table', 'wide', 'json', 'yaml', 'name'] as const;
export type OutputFormat = (typeof OUTPUT_FORMATS)[number];

export function checkFormat(text: string): OutputFormat {
  if ((OUTPUT_FORMATS as readonly string[]).includes(text)) return text as OutputFormat;
  throw new UsageError(`-o ${text}: one of ${OUTPUT_FORMATS.join(', ')} is wanted`);
}

/** `-o` of a command that knows only these; the first is the default. */
export function outputOption(formats: readonly string[], about = formats.join(' or ')): Option {
  return new Option('-o, --output <format>', about).default(formats[0]).argParser((text) => {
    if (!formats.includes(text)) throw new UsageError(`-o ${text}: ${formats.join(' or ')} is wanted`);
    return text;
  });
}

const isColourful = (stream: NodeJS.WriteStream): boolean =>
  stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb';

function painter(code: number): (text: string) => string {
  return (text) => (isColourful(process.stdout) ? `\u001b[${code}m${text}\u001b[0m` : text);
}
export const bold = painter(1);
export const dim = painter(2);
export const red = painter(31);
export const green = painter(32);
export const yellow = painter(33);

export function print(text: string): void {
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}

/** Messages for people: on stderr, so that stdout stays data. */
export function say(text: string): void {
  process.stderr.write(text.endsWith('\n') ? text : `${text}\n`);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character is what is looked for
const ANSI = /\u001b\[\d+m/g;
const width = (text: string): number => text.replace(ANSI, '').length;

/** Columns as wide as their widest cell, two spaces apart; the last one is not padded. */
export function formatTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => width(row[column] ?? ''))));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => (column === cells.length - 1 ? cell : cell + ' '.repeat(widths[column]! - width(cell))))
      .join('  ')
      .trimEnd();
  return [dim(line(header)), ...rows.map(line)].join('\n');
}

/** Names that begin as the wanted one, or are one or two letters off: for "did you mean". */
export function nearest(wanted: string, known: Iterable<string>): string[] {
  return [...known]
    .map((name) => ({
      name,
      distance: name.startsWith(wanted) || wanted.startsWith(name) ? 0 : editDistance(wanted, name),
    }))
    .filter(({ distance }) => distance <= 2)
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map(({ name }) => name);
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length]!;
}
