/**
 * The commands that turn one configuration of a daemon into another while it runs, so that what did not change does not notice.
 * Both texts are `formatConfig`'s. The commands may be given again: a run that was cut off is made good by another.
 */
export type Command = {
  /** Headers of the sections that the line stands in, outermost first. */
  readonly within: readonly string[];
  readonly line: string;
  /** What it takes away may be gone already: an error of it is none. */
  readonly removal: boolean;
};

type Section = { readonly header: string; readonly lines: string[]; readonly sections: Section[] };

const NO_NEIGHBORS: ReadonlySet<string> = new Set();

/**
 * First what others refer to (lists, maps, profiles), then what refers to them, then what nobody refers to any more. A `router bgp` of
 * another AS goes before its successor comes: there can be only one.
 */
export function configDifference(before: string, after: string): Command[] {
  const old = parseSections(before);
  const wanted = parseSections(after);
  const headers = new Set(wanted.sections.map((s) => s.header));
  const gone = old.sections.filter((s) => !headers.has(s.header));
  const isUser = (s: Section): boolean => s.header.startsWith('router ');
  const lines = lineDifference(old.lines, wanted.lines, [], NO_NEIGHBORS);
  const changes = (of: (s: Section) => boolean): Command[] =>
    wanted.sections.filter(of).flatMap((s) => sectionDifference(sectionOf(old, s.header), s, [], neighborsOf(s.lines)));
  const users = wanted.sections.filter(isUser);
  return [
    ...lines.filter((c) => !c.removal),
    ...changes((s) => !isUser(s)),
    ...gone.filter(isUser).map((s) => removal([], `no ${s.header}`)),
    ...changes(isUser),
    ...users.flatMap((s) => startNeighbors(sectionOf(old, s.header), s)),
    ...gone.filter((s) => !isUser(s)).map((s) => removal([], `no ${s.header}`)),
    ...lines.filter((c) => c.removal),
  ];
}

/** A neighbor that is new is held down until all of it is said, or it would connect with half of its configuration. */
function startNeighbors(old: Section | undefined, wanted: Section): Command[] {
  return [...neighborsOf(wanted.lines)]
    .filter((n) => isNew(n, old?.lines ?? []) && !wanted.lines.includes(`neighbor ${n} shutdown`))
    .map((n) => removal([wanted.header], `no neighbor ${n} shutdown`));
}

function isNew(neighbor: string, before: readonly string[]): boolean {
  return !neighborsOf(before).has(neighbor);
}

/** The words that a vty understands one after the other, from `configure terminal` on. */
export function commandLines(commands: readonly Command[]): { readonly line: string; readonly removal: boolean }[] {
  const lines: { line: string; removal: boolean }[] = [];
  let open: readonly string[] = [];
  for (const { within, line, removal: isRemoval } of commands) {
    let same = 0;
    while (same < open.length && same < within.length && open[same] === within[same]) same++;
    for (let depth = open.length; depth > same; depth--)
      lines.push({ line: closing(open[depth - 1]!), removal: false });
    for (const header of within.slice(same)) lines.push({ line: header, removal: false });
    open = within;
    lines.push({ line, removal: isRemoval });
  }
  for (let depth = open.length; depth > 0; depth--) lines.push({ line: closing(open[depth - 1]!), removal: false });
  return lines;
}

function closing(header: string): string {
  return header.startsWith('address-family ') ? 'exit-address-family' : 'exit';
}

/** `neighbors`: those of the router that the section is, or is in. What belongs to others goes with them. */
function sectionDifference(
  old: Section | undefined,
  wanted: Section,
  outer: readonly string[],
  neighbors: ReadonlySet<string>,
): Command[] {
  const within = [...outer, wanted.header];
  const headers = new Set(wanted.sections.map((s) => s.header));
  const gone = old?.sections.filter((s) => !headers.has(s.header)) ?? [];
  // A section may be all that is new: its header alone makes it.
  const made = old ? [] : [added(outer, wanted.header), added(outer, closing(wanted.header))];
  return [
    ...made,
    ...gone.flatMap((s) => emptied(s, within, neighbors)),
    ...lineDifference(old?.lines ?? [], wanted.lines, within, neighbors),
    ...wanted.sections.flatMap((s) => sectionDifference(old && sectionOf(old, s.header), s, within, neighbors)),
  ];
}

/** An address family cannot be removed, only emptied. */
function emptied(section: Section, within: readonly string[], neighbors: ReadonlySet<string>): Command[] {
  if (!section.header.startsWith('address-family ')) return [removal(within, `no ${section.header}`)];
  return lineDifference(section.lines, [], [...within, section.header], neighbors);
}

/** A line with the same key replaces the other; only keys that are gone are taken back. */
function lineDifference(
  before: readonly string[],
  after: readonly string[],
  within: readonly string[],
  neighbors: ReadonlySet<string>,
): Command[] {
  const old = new Map(before.map((line) => [keyOf(line), line]));
  const wanted = new Map(after.map((line) => [keyOf(line), line]));
  const commands: Command[] = [];
  for (const [key, line] of old) {
    const neighbor = neighborOf(line);
    if (neighbor !== undefined && !neighbors.has(neighbor)) {
      if (key === `${neighbor} remote-as`) commands.push(removal(within, `no neighbor ${neighbor}`));
    } else if (!wanted.has(key)) commands.push(removal(within, negated(line)));
  }
  for (const [key, line] of wanted) {
    if (old.get(key) === line) continue;
    commands.push(added(within, line));
    const neighbor = neighborOf(line);
    if (neighbor !== undefined && key === `${neighbor} remote-as` && isNew(neighbor, before))
      commands.push(added(within, `neighbor ${neighbor} shutdown`));
  }
  return commands;
}

function added(within: readonly string[], line: string): Command {
  return { within, line, removal: false };
}

function removal(within: readonly string[], line: string): Command {
  return { within, line, removal: true };
}

function negated(line: string): string {
  return line.startsWith('no ') ? line.slice(3) : `no ${line}`;
}

function neighborOf(line: string): string | undefined {
  return /^neighbor (\S+)/.exec(line)?.[1];
}

function neighborsOf(lines: readonly string[]): Set<string> {
  return new Set(lines.flatMap((line) => neighborOf(line) ?? []));
}

/** What a line sets, without the value that it sets it to. */
function keyOf(line: string): string {
  const words = line.split(' ');
  if (words[0] === 'neighbor') {
    const attribute = words[2]!;
    if (attribute === 'route-map') return `${words[1]} route-map ${words[4]}`;
    if (attribute === 'timers' && words[3] === 'connect') return `${words[1]} timers connect`;
    if (attribute === 'bfd' && words[3] === 'profile') return `${words[1]} bfd profile`;
    return `${words[1]} ${attribute}`;
  }
  if (
    /^(fpm address|bgp router-id|bgp graceful-restart restart-time|maximum-paths|detect-multiplier|\w+-interval)\b/.test(
      line,
    )
  )
    return words.slice(0, words.length - valueWords(line)).join(' ');
  return line;
}

function valueWords(line: string): number {
  return line.startsWith('fpm ') ? 3 : 1;
}

function sectionOf(section: Section, header: string): Section | undefined {
  return section.sections.find((s) => s.header === header);
}

/** By indentation; `exit` and `exit-address-family` close, which the indentation says already. */
function parseSections(text: string): Section {
  const root: Section = { header: '', lines: [], sections: [] };
  const open: Section[] = [root];
  const rows = text.split('\n').filter((row) => row.trim() !== '' && !row.trimStart().startsWith('!'));
  const depthOf = (row: string | undefined): number => (row === undefined ? 0 : row.length - row.trimStart().length);
  for (const [i, row] of rows.entries()) {
    const depth = depthOf(row);
    const line = row.trim();
    open.length = depth + 1;
    if (line === 'exit' || line === 'exit-address-family') continue;
    const parent = open[depth]!;
    const next = rows[i + 1];
    // A section without lines is told from a line by the closing that follows it.
    const isSection =
      depthOf(next) > depth || (depthOf(next) === depth && /^ *exit(-address-family)?$/.test(next ?? ''));
    if (!isSection) parent.lines.push(line);
    else {
      const section: Section = { header: line, lines: [], sections: [] };
      parent.sections.push(section);
      open.push(section);
    }
  }
  return root;
}
