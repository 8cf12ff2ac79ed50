import { Command } from 'commander';
import { readContexts } from '../contexts.ts';
import { UsageError } from '../exit-codes.ts';
import { CLI_KINDS, kindOf } from '../kinds.ts';
import { NOUNS } from '../nouns.ts';
import { print } from '../output.ts';
import { listObjects } from '../requests.ts';
import { withSession } from '../session.ts';

const SCRIPTS = {
  bash: `# weft completion: eval "$(weft completion bash)", or save it in /etc/bash_completion.d/weft
_weft() {
  local IFS=$'\\n'
  COMPREPLY=($(weft completion words -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _weft weft`,
  zsh: `#compdef weft
# weft completion: save it as _weft in a folder of $fpath
_weft() {
  local -a found
  found=("\${(@f)$(weft completion words -- "\${words[@]:1:$((CURRENT-1))}" 2>/dev/null)}")
  compadd -a found || _files
}
compdef _weft weft`,
  fish: `# weft completion: save it as ~/.config/fish/completions/weft.fish
complete -c weft -a '(set -l words (commandline -opc) (commandline -ct); weft completion words -- $words[2..-1] 2>/dev/null)'`,
} as const;

export function register(program: Command): void {
  program.enablePositionalOptions();
  const completion = program
    .command('completion')
    .enablePositionalOptions()
    .description('completion for bash, zsh or fish; kinds, names and options, names from the server')
    .argument('[shell]', 'bash, zsh or fish', 'bash')
    .action((shell: string) => {
      if (!(shell in SCRIPTS)) throw new UsageError(`completion for ${shell}: one of bash, zsh, fish is wanted`);
      print(SCRIPTS[shell as keyof typeof SCRIPTS]);
    });
  completion
    .command('words', { hidden: true })
    .argument('[words...]')
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (words: string[], _options: unknown, command: Command) => {
      const found = await complete(words, command);
      if (found.length > 0) print(found.join('\n'));
    });
}

/** What can stand in place of the last word; the shell's own file names where there is nothing. */
async function complete(words: readonly string[], command: Command): Promise<string[]> {
  const typed = words.at(-1) ?? '';
  const before = words.slice(0, -1);
  const starting = (candidates: readonly string[]): string[] =>
    [...new Set(candidates)].filter((word) => word.startsWith(typed)).sort();
  const last = before.at(-1);
  if (last === '-t' || last === '--tenant') return starting(await namesOf('tenant', command));
  if (last === '--context') return starting(Object.keys(readContexts().contexts));
  if (last === '-o' || last === '--output') return starting(['table', 'wide', 'json', 'yaml', 'name']);
  if (last === '-f' || last === '--file') return [];
  const plain = before.filter((word) => !word.startsWith('-'));
  const [noun, ...rest] = plain;
  if (noun === undefined) return starting(Object.keys(NOUNS).filter((name) => !NOUNS[name]!.hidden));
  if (typed.startsWith('-')) return starting(await optionsOf(plain));
  return starting(await argumentsOf(noun, rest, command));
}

async function argumentsOf(noun: string, rest: readonly string[], command: Command): Promise<string[]> {
  switch (noun) {
    case 'get':
    case 'describe':
    case 'delete':
    case 'watch': {
      const kind = rest[0] === undefined ? undefined : kindOf(rest[0]);
      return kind ? namesOf(kind.kind, command) : CLI_KINDS.map(({ plural }) => plural);
    }
    case 'trace':
      return rest.length < 2 ? namesOf('port', command) : ['icmp', 'arp', 'dhcp', 'tcp/443', 'udp/53'];
    case 'capture':
    case 'activate':
      return namesOf(rest.length === 0 ? 'port' : 'host', command);
    case 'show':
      return namesOf('switch', command);
    default: {
      const found = await commandOf([noun, ...rest]);
      return found?.commands.map((sub) => sub.name()) ?? [];
    }
  }
}

async function namesOf(kind: string, command: Command): Promise<string[]> {
  const entry = kindOf(kind)!;
  return withSession(command, async (session) => {
    const objects = await listObjects(session, entry);
    const isAmbiguous = entry.tenantOwned && new Set(objects.map((o) => o.name)).size < objects.length;
    return objects.map((o) => (isAmbiguous ? `${String(o.tenant)}/${o.name}` : o.name));
  }).catch(() => []);
}

async function optionsOf(words: readonly string[]): Promise<string[]> {
  const found = await commandOf(words);
  return ['--context', '--server', '--help', ...(found?.options.flatMap((option) => option.long ?? []) ?? [])];
}

/** The command that words lead to, as far as they do. */
async function commandOf(words: readonly string[]): Promise<Command | undefined> {
  const noun = NOUNS[words[0] ?? ''];
  if (!noun) return undefined;
  const program = new Command();
  (await noun.load()).register(program);
  let found: Command | undefined;
  let among = program.commands;
  for (const word of words) {
    const next = among.find((each) => each.name() === word || each.aliases().includes(word));
    if (!next) break;
    found = next;
    among = next.commands;
  }
  return found;
}
