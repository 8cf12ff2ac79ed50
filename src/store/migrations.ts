import type { DatabaseSync } from 'node:sqlite';
import { WeftError } from '../base/errors.ts';

/**
 * What leads from one version of the file to the next, in order; version n is reached after the n-th. A step that has been
 * released is never edited: a change is a new step.
 */
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
   CREATE TABLE records (key TEXT PRIMARY KEY, revision INTEGER NOT NULL, value TEXT NOT NULL, lease TEXT) WITHOUT ROWID;
   CREATE INDEX records_by_lease ON records (lease) WHERE lease IS NOT NULL;
   CREATE TABLE log (revision INTEGER NOT NULL, position INTEGER NOT NULL, key TEXT NOT NULL, value TEXT,
                     PRIMARY KEY (revision, position)) WITHOUT ROWID;
   CREATE TABLE leases (id TEXT PRIMARY KEY, duration_ms INTEGER NOT NULL) WITHOUT ROWID;`,
];

export const SCHEMA_VERSION = MIGRATIONS.length;

/** Brings the file to this version, each step in a transaction. Throws `invalid` for a file of a newer Weft. */
export function migrate(db: DatabaseSync, path: string, migrations: readonly string[] = MIGRATIONS): void {
  db.exec('CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL)');
  const version = Number(db.prepare('SELECT max(version) AS version FROM schema_version').get()?.version ?? 0);
  if (version > migrations.length)
    throw new WeftError(
      'invalid',
      `store ${path} has schema version ${version}, this Weft knows ${migrations.length}: it was written by a newer one`,
    );
  for (const [index, step] of migrations.entries()) {
    if (index < version) continue;
    db.exec('BEGIN IMMEDIATE');
    try {
      db.exec(step);
      db.prepare('INSERT INTO schema_version (version, applied_at) VALUES (?, ?)').run(
        index + 1,
        new Date().toISOString(),
      );
      db.exec('COMMIT');
    } catch (error) {
      db.exec('ROLLBACK');
      throw error;
    }
  }
}
