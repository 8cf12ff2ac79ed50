import { contribute, defineSink } from '../incremental/definitions.ts';
import { define, type LocalProfile, profileName } from './inputs.ts';

/** Which sets of security groups ports here have, or had a moment ago: worked out beside the local switches, for the same reason. */
export const localProfileSink = defineSink<readonly string[], LocalProfile>({
  name: 'localProfile',
  merge: (contributions) => ({ kind: 'localProfile', id: '', groups: contributions[0]!.value }),
});

export const localProfilesUnit = define.unit({
  name: 'localProfiles',
  over: 'interface',
  run(reader, id) {
    const sets = [reader.pick('port', id, 'groups') ?? [], ...(reader.pick('formerGroups', id, 'sets') ?? [])];
    const profiles = new Set(sets.map(profileName));
    return [...profiles].flatMap((profile) =>
      profile === undefined ? [] : [contribute(localProfileSink, profile, profile.split('+'))],
    );
  },
});
