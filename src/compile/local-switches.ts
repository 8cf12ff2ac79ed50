import { contribute, defineSink } from '../incremental/definitions.ts';
import { define, type LocalSwitch } from './inputs.ts';

/**
 * Which switches frames from here can be in: those that have ports here, and those that routers lead to. Every unit of a switch asks this,
 * but seldom does the answer change when interfaces come and go: so it is worked out by an engine of its own, whose outputs are records for
 * the other. A derived cell would have every reader ask again.
 *
 * A router that is in the inputs at all can be reached from here (the server's scope sees to that), and so can its switches.
 */
export const localSwitchSink = defineSink<Omit<LocalSwitch, 'kind' | 'id'>, LocalSwitch>({
  name: 'localSwitch',
  merge: (contributions) => ({
    kind: 'localSwitch',
    id: '',
    isHere: contributions.some(({ value }) => value.isHere),
    learns: contributions.some(({ value }) => value.learns),
  }),
});

const localSwitchesUnit = define.unit({
  name: 'localSwitches',
  over: 'interface',
  run(reader, id) {
    const onSwitch = reader.pick('port', id, 'switch');
    if (onSwitch === undefined) return [];
    const learns = reader.pick('port', id, 'portSecurity') === false;
    return [contribute(localSwitchSink, onSwitch, { isHere: true, learns })];
  },
});

const routedSwitchesUnit = define.unit({
  name: 'routedSwitches',
  over: 'routerPort',
  run(reader, id) {
    const onSwitch = reader.pick('routerPort', id, 'switch');
    return onSwitch === undefined ? [] : [contribute(localSwitchSink, onSwitch, { isHere: false, learns: false })];
  },
});

export const LOCAL_SWITCH_UNITS = [localSwitchesUnit, routedSwitchesUnit] as const;
/** The kinds that these units, and others beside them, read. */
export const LOCAL_SWITCH_KINDS: ReadonlySet<string> = new Set([
  ...['interface', 'port', 'formerGroups', 'router', 'routerPort', 'switch'],
]);
