/** Structured logging: one JSON object a line on stderr. Components get a child logger with their name. */
export interface Log {
  debug(message: string, fields?: Record<string, unknown>): void;
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
  child(fields: Record<string, unknown>): Log;
}

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** `write` takes one line with its newline; the default is stderr. */
export function createLog(
  level: LogLevel,
  write: (line: string) => void = (line) => void process.stderr.write(line),
  bound: Record<string, unknown> = {},
): Log {
  const least = LOG_LEVELS.indexOf(level);
  const at = (name: LogLevel) => {
    const rank = LOG_LEVELS.indexOf(name);
    return (message: string, fields?: Record<string, unknown>): void => {
      if (rank < least) return;
      write(
        `${JSON.stringify({ time: new Date().toISOString(), level: name, ...bound, message, ...plain(fields) })}\n`,
      );
    };
  };
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => createLog(level, write, { ...bound, ...fields }),
  };
}

/** Errors and bigints as JSON can hold them. */
function plain(fields: Record<string, unknown> | undefined): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields ?? {})) {
    if (value instanceof Error)
      out[key] = { name: value.name, message: value.message, ...('code' in value ? { code: value.code } : {}) };
    else out[key] = typeof value === 'bigint' ? value.toString() : value;
  }
  return out;
}

export const silentLog: Log = createLog('silent', () => {});
