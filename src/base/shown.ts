/** Text as it can stand in a message, whoever wrote it: what a terminal would act on is escaped, and what is long is cut. */
export function shown(text: string, most = 80): string {
  return printable(text.length > most ? `${text.slice(0, most)}…` : text);
}

/** Control characters but for new lines and tabs as `\u001b`: a terminal acts on the others. */
export function printable(text: string): string {
  return text.replace(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
