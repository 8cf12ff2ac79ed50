import { Command } from 'commander';
import { WeftError } from '../base/errors.ts';
import { printable } from '../base/shown.ts';
import { EXIT, exitCodeOf } from './exit-codes.ts';
import { NOUNS } from './nouns.ts';
import { red, say } from './output.ts';
import { VERSION } from './version.ts';

/**
 * `weft`: what people type. `src/cli` owns commands and their text; one file per command under `nouns/`, each with one
 * `register(program)`. Only the command that is called is loaded, so that `weft get` starts fast.
 */
async function main(argv: readonly string[]): Promise<void> {
  const program = new Command('weft')
    .description("tenants' networks on Open vSwitch")
    .version(VERSION, '-V, --version')
    .option('--context <name>', 'context of the configuration file to use')
    .option('--server <url>', 'unix:/path, tcp:127.0.0.1:port or tls:host:port (also http:// and https://)')
    .showHelpAfterError('(weft --help lists the commands)')
    .exitOverride((error) => process.exit(error.exitCode === 0 ? EXIT.ok : EXIT.usage));
  const words = argv.filter(
    (word, i) => !word.startsWith('-') && argv[i - 1] !== '--context' && argv[i - 1] !== '--server',
  );
  const wanted = words[0] === 'help' ? words[1] : words[0];
  for (const [name, noun] of Object.entries(NOUNS)) {
    if (name === wanted) (await noun.load()).register(program);
    else program.command(name, { hidden: noun.hidden === true }).description(noun.about);
  }
  hintAt(program, 'weft');
  await program.parseAsync([...argv], { from: 'user' });
}

/** Who misspells a command is sent to the help of that one. */
function hintAt(command: Command, path: string): void {
  for (const inner of command.commands) {
    const name = `${path} ${inner.name()}`;
    inner.showHelpAfterError(`('${name} --help' tells more)`);
    hintAt(inner, name);
  }
}

process.stdout.on('error', (error: NodeJS.ErrnoException) =>
  process.exit(error.code === 'EPIPE' ? EXIT.ok : EXIT.failure),
);
main(process.argv.slice(2)).catch((error: unknown) => {
  if (error instanceof WeftError) say(`${red('error')}: ${printable(error.message)}`);
  else
    say(
      `${red('error')}: ${error instanceof Error ? (process.env.WEFT_DEBUG ? error.stack : error.message) : String(error)}`,
    );
  process.exitCode = exitCodeOf(error);
  // What a failed command left open (a stream, a timer) must not keep it from ending.
  setImmediate(() => process.exit());
});
