import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LabSpec } from './spec.ts';

/**
 * What a lab leaves on disk so that another process can go on with it, show it and remove it. One file per thing,
 * each replaced whole, so that two processes that change different things never lose one another's change.
 *
 *     DIR/LAB/lab.json                 the description and what of it is running
 *     DIR/LAB/workloads/NAME.json      each workload as it is plugged now
 *     DIR/LAB/links/ROUTER.LINK.json   each link to an upstream router that is plugged in
 *     DIR/LAB/processes/PLACE.NAME.json
 *     DIR/LAB/logs/PLACE.NAME.log
 *     DIR/LAB/hosts/HOST/              Open vSwitch's run directory, database and sockets
 *     DIR/LAB/frr/ROUTER/              FRR's configuration and sockets
 *     DIR/LAB/server/                  for the server's own files
 */
export class LabState {
  readonly dir: string;

  constructor(lab: string) {
    this.dir = join(labsDir(), lab);
  }

  exists(): boolean {
    return existsSync(join(this.dir, 'lab.json'));
  }

  create(spec: LabSpec): void {
    for (const sub of ['workloads', 'links', 'processes', 'logs', 'hosts', 'server'])
      mkdirSync(join(this.dir, sub), { recursive: true });
    this.write('lab.json', spec);
  }

  readSpec(): LabSpec | undefined {
    return this.read<LabSpec>('lab.json');
  }

  hostDir(host: string): string {
    const dir = join(this.dir, 'hosts', host);
    mkdirSync(dir, { recursive: true });
    return dir;
  }

  logFile(place: string, name: string): string {
    return join(this.dir, 'logs', `${place}.${name}.log`);
  }

  read<T>(path: string): T | undefined {
    try {
      return JSON.parse(readFileSync(join(this.dir, path), 'utf8')) as T;
    } catch {
      return undefined; // never written, or the lab is being removed
    }
  }

  readAll<T>(folder: string): T[] {
    if (!existsSync(join(this.dir, folder))) return [];
    const names = readdirSync(join(this.dir, folder))
      .filter((name) => name.endsWith('.json'))
      .sort();
    return names.map((name) => this.read<T>(join(folder, name))).filter((value) => value !== undefined);
  }

  write(path: string, value: unknown): void {
    const target = join(this.dir, path);
    const part = `${target}.${process.pid}.part`;
    writeFileSync(part, `${JSON.stringify(value, null, 2)}\n`);
    renameSync(part, target);
  }

  remove(path: string): void {
    rmSync(join(this.dir, path), { force: true });
  }

  removeAll(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Where labs keep their state; tests set WEFT_LAB_DIR so that they never touch a person's labs. */
export function labsDir(): string {
  return process.env.WEFT_LAB_DIR ?? '/run/weft-lab';
}

/** Names of the labs that were started and not removed. */
export function listLabs(): string[] {
  if (!existsSync(labsDir())) return [];
  return readdirSync(labsDir())
    .filter((name) => existsSync(join(labsDir(), name, 'lab.json')))
    .sort();
}
