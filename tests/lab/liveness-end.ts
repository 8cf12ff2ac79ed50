import { LivenessLink } from '../../src/agent/liveness/liveness-link.ts';
import { systemClock } from '../../src/base/clock.ts';
import { createLog } from '../../src/base/log.ts';
import { systemRandom } from '../../src/base/random.ts';

/**
 * What an agent does for the liveness of other hosts, alone: `liveness-end.ts OWN [HOST=ADDRESS…]` answers probes at its own address, watches the
 * hosts and prints `{lost, isSettled}` as one line of JSON whenever that changes.
 */
const [own, ...watched] = process.argv.slice(2);
const link = new LivenessLink({
  emit: (event) => {
    if (event.kind === 'hosts') process.stdout.write(`${JSON.stringify(event)}\n`);
  },
  clock: systemClock,
  random: systemRandom,
  log: createLog('warn'),
});
const hosts = watched.map((text) => {
  const at = text.indexOf('=');
  return { host: text.slice(0, at), address: text.slice(at + 1) };
});
link.perform({ kind: 'watchHosts', own, hosts });
link.setFlows(true);
// The link itself holds nobody up.
setInterval(() => {}, 60_000);
