import type { Mirror } from '../model/objects.ts';
import type { Action } from '../openflow/flow.ts';
import { load } from './fields.ts';
import { define, type Reader } from './inputs.ts';
import { TABLES } from './tables.ts';

/** Who is copied by which mirror (docs/design/layer3.md, §11). */

/** Port or switch → mirrors that it is a source of. */
export const mirrorsIndex = define.index('mirrorsOf', 'mirror', ({ ports, switch: onSwitch }) =>
  onSwitch === undefined ? ports : [...ports, onSwitch],
);

/** Keys of the mirrors that copy what a port sends or receives, sorted by the mirrors' ids. */
function mirrorsOf(reader: Reader, id: string, way: 'from' | 'to'): readonly number[] {
  const onSwitch = reader.pick('port', id, 'switch');
  const mirrors = new Set(reader.ids(mirrorsIndex, id));
  if (onSwitch !== undefined)
    for (const mirror of reader.ids(mirrorsIndex, onSwitch))
      if (reader.pick('mirror', mirror, 'to')!.port !== id) mirrors.add(mirror);
  const other: Mirror['direction'] = way === 'from' ? 'to' : 'from';
  return [...mirrors]
    .sort()
    .filter((mirror) => reader.pick('mirror', mirror, 'direction') !== other)
    .map((mirror) => reader.pick('mirror', mirror, 'key')!);
}

/** A copy to each of the mirrors; nothing of it is left behind. */
export function copies(reader: Reader, id: string, way: 'from' | 'to'): readonly Action[] {
  return mirrorsOf(reader, id, way).map((mirror) => ({
    kind: 'clone',
    actions: [...load({ mirror }), { kind: 'resubmit', table: TABLES.mirror.number }],
  }));
}
