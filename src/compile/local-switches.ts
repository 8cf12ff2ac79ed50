import { contribute, defineSink } from '../incremental/definitions.ts';
import { define, type LocalSwitch } from './inputs.ts';

/**
 * Which switches have ports here. Every unit of a switch asks this, but seldom does the answer change when interfaces come and go: so it is
 * worked out by an engine of its own, whose outputs are records for the other. A derived cell would have every reader ask again.
 */
export const localSwitchSink = defineSink<boolean, LocalSwitch>({
  name: 'localSwitch',
  merge: (contributions) => ({ kind: 'localSwitch', id: '', learns: contributions.some(({ value }) => value) }),
});

export const localSwitchesUnit = define.unit({
  name: 'localSwitches',
  over: 'interface',
  run(reader, id) {
    const onSwitch = reader.pick('port', id, 'switch');
    return onSwitch === undefined
      ? []
      : [contribute(localSwitchSink, onSwitch, reader.pick('port', id, 'portSecurity') === false)];
  },
});
