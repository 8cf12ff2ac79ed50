import { once } from 'node:events';
import { join } from 'node:path';
import { WeftError } from '../src/base/errors.ts';
import type { Lab } from '../src/lab/lab.ts';
import { INTEGRATION_BRIDGE } from '../src/lab/open-vswitch.ts';
import type { BenchContext } from './bench.ts';

/**
 * Hears of every flow that a switch takes or gives up, from the switch itself (`ovs-ofctl monitor`). Nobody asks and
 * asks again, so what is measured is not held up by the measuring.
 */
export class FlowWatch {
  /** Flows that came and went since the last `reset`. */
  changes = 0;
  /** When the last of them was heard of, by `performance.now()`. */
  lastMs = 0;

  readonly #end: () => void;

  private constructor(end: () => void) {
    this.#end = end;
  }

  static async of(context: BenchContext, lab: Lab, host: string): Promise<FlowWatch> {
    const { dir } = lab.switchOf(host);
    const monitor = ['ovs-ofctl', 'monitor', `unix:${join(dir, `${INTEGRATION_BRIDGE}.mgmt`)}`, 'watch:!initial'];
    const child = lab.spawn(host, ['env', `OVS_RUNDIR=${dir}`, ...monitor]);
    const watch = new FlowWatch(() => void child.kill());
    context.defer(() => watch.stop());
    for (const stream of [child.stdout!, child.stderr!])
      stream.setEncoding('utf8').on('data', (text: string) => {
        const count = text.split('event=').length - 1;
        if (count === 0) return;
        watch.changes += count;
        watch.lastMs = performance.now();
      });
    // It answers with an empty list first.
    const [said] = (await Promise.race([once(child.stdout!, 'data'), once(child.stderr!, 'data')])) as [string];
    if (!said.includes('MONITOR')) throw new WeftError('refused', `ovs-ofctl monitor on ${host}: ${said}`);
    return watch;
  }

  reset(): void {
    this.changes = 0;
    this.lastMs = 0;
  }

  /** For what follows that would cost the switch too much to be told. */
  stop(): void {
    this.#end();
  }
}
