import { define, floatingOfPortIndex, type Reader } from './inputs.ts';
import { type FLOATING_METER, floatingLimit, type Limit, MOST_FLOATING, NO_LIMIT } from './meters.ts';

/** Floating addresses with a limit that lead to a port, sorted by id: their places tell their meters. */
const limitedOfPort = define.cell<readonly string[]>({
  name: 'limitedFloating',
  run: (reader, port) =>
    reader
      .ids(floatingOfPortIndex, port)
      .filter((id) => reader.pick('floatingAddress', id, 'limit') !== undefined)
      .toSorted(),
});

/** The limit of a floating address one way; none where its port is not here: both ways go through the port's host. */
export function limitOf(reader: Reader, id: string, way: keyof typeof FLOATING_METER): Limit {
  const kbps = reader.pick('floatingAddress', id, 'limit')?.kbps;
  const port = reader.pick('floatingAddress', id, 'port');
  if (kbps === undefined || port === undefined || reader.pick('interface', port, 'ofport') === undefined)
    return NO_LIMIT;
  const rank = reader.derive(limitedOfPort, port).indexOf(id);
  return rank < MOST_FLOATING ? floatingLimit(reader, port, rank, way, kbps) : NO_LIMIT;
}
