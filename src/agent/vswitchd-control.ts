import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { WeftError } from '../base/errors.ts';

/**
 * The control socket of ovs-vswitchd: `ovs-vswitchd.ctl`, or with the process id that the pid file tells. Error `unreachable` where there is
 * none: Open vSwitch may be stopped, and its run directory with it.
 */
export function findControlSocket(runDir: string): string {
  const plain = join(runDir, 'ovs-vswitchd.ctl');
  if (existsSync(plain)) return plain;
  let found: string | undefined;
  try {
    found = findNumbered(runDir);
  } catch (cause) {
    throw new WeftError('unreachable', `the run directory of Open vSwitch, ${runDir}, cannot be read`, { cause });
  }
  if (found === undefined) throw new WeftError('unreachable', `no control socket of ovs-vswitchd in ${runDir}`);
  return join(runDir, found);
}

function findNumbered(runDir: string): string | undefined {
  const pidFile = join(runDir, 'ovs-vswitchd.pid');
  const named = existsSync(pidFile) ? `ovs-vswitchd.${readFileSync(pidFile, 'utf8').trim()}.ctl` : undefined;
  return readdirSync(runDir).find(
    (name) => name === named || (named === undefined && /^ovs-vswitchd\.\d+\.ctl$/.test(name)),
  );
}
