import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Test support: an Open vSwitch of our own, with one bridge on the userspace datapath and no ports. */
export interface TestSwitch {
  /** For `connectOpenFlow`. */
  readonly address: string;
  /** Runs an Open vSwitch tool against it and gives its output. */
  run(command: string, ...args: string[]): string;
  stop(): Promise<void>;
}

const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';

function installed(command: string): boolean {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
}

/** Why Open vSwitch cannot be started here, or false. */
export const noOpenVswitch: string | false =
  installed('ovs-vswitchd') && installed('ovsdb-server') && existsSync(SCHEMA)
    ? false
    : 'Open vSwitch is not installed';
export const noOfctl: string | false = installed('ovs-ofctl') ? false : 'ovs-ofctl is not installed';

export async function startSwitch(): Promise<TestSwitch> {
  const dir = mkdtempSync(join(tmpdir(), 'weft-openflow-'));
  const env = { ...process.env, OVS_RUNDIR: dir, OVS_DBDIR: dir, OVS_LOGDIR: dir };
  const run = (command: string, ...args: string[]): string =>
    execFileSync(command, args, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  const socket = join(dir, 'db.sock');
  run('ovsdb-tool', 'create', join(dir, 'conf.db'), SCHEMA);
  const daemons = [
    spawn('ovsdb-server', [join(dir, 'conf.db'), `--remote=punix:${socket}`, `--unixctl=${dir}/db.ctl`], {
      env,
      stdio: 'ignore',
    }),
  ];
  for (let i = 0; i < 100 && !existsSync(socket); i++) await sleep(20);
  run('ovs-vsctl', `--db=unix:${socket}`, '--no-wait', 'init');
  daemons.push(
    spawn('ovs-vswitchd', [`unix:${socket}`, `--unixctl=${dir}/vswitchd.ctl`, '--disable-system'], {
      env,
      stdio: 'ignore',
    }),
  );
  const stop = async (): Promise<void> => {
    for (const daemon of daemons.reverse()) {
      const gone = new Promise((resolve) => daemon.once('exit', resolve));
      if (daemon.exitCode === null && daemon.kill()) await gone;
    }
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    const versions = 'protocols=OpenFlow10,OpenFlow13,OpenFlow14,OpenFlow15';
    const bridge = ['set', 'bridge', 'br0', 'datapath_type=netdev', versions];
    run('ovs-vsctl', `--db=unix:${socket}`, '--timeout=20', 'add-br', 'br0', '--', ...bridge);
  } catch (error) {
    await stop();
    throw error;
  }
  return { address: `unix:${join(dir, 'br0.mgmt')}`, run, stop };
}
