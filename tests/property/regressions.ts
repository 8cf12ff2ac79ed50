import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ConversationSketch } from './conversation.ts';
import type { ScenarioSketch } from './scenario.ts';

const FOLDER = join(import.meta.dirname, 'regressions');

function kept<T>(folder: string): readonly (readonly [string, T])[] {
  return globSync('*.json', { cwd: folder })
    .sort()
    .map((name) => [name, JSON.parse(readFileSync(join(folder, name), 'utf8')) as T]);
}

/** Cases that once went wrong, by file name; every run tries them. */
export const regressions = kept<ScenarioSketch>(FOLDER);
export const conversationRegressions = kept<ConversationSketch>(join(FOLDER, 'conversations'));
