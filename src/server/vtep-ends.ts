import { formatIp, parseIp } from '../base/addresses.ts';
import { describe } from '../model/describe.ts';
import type { Draft } from '../model/draft.ts';
import type { ModelIndex } from '../model/model-index.ts';
import type { Mirror, Vtep } from '../model/objects.ts';
import { problemsError } from '../model/problem.ts';
import type { Notice } from './bindings.ts';
import type { StatusProblem } from './present.ts';
import type { ReportedVtep } from './protocol.ts';

/**
 * Where tunnels of VTEPs end as their databases say. Of addresses that are written the model knows (`checkMirrors`): no mirror sends copies there, for a
 * VTEP would take them for frames of its networks. What was told last holds while the database is out of reach; after a restart of the server it is not
 * known until the agents are back.
 */
export class VtepEnds {
  readonly #index: ModelIndex;
  /** By the VTEP's id. */
  readonly #told = new Map<string, string>();

  constructor(index: ModelIndex) {
    this.#index = index;
  }

  /** An agent says so. What is written already cannot be refused any more: people are told. */
  take(vteps: readonly ReportedVtep[]): readonly Notice[] {
    for (const id of this.#told.keys()) if (!this.#index.get('vtep', id)) this.#told.delete(id);
    return vteps.flatMap(({ vtep: id, tunnelAddress }) => {
      const vtep = this.#index.get('vtep', id);
      const ip = tunnelAddress === undefined ? undefined : parseIp(tunnelAddress);
      const address = ip && formatIp(ip);
      if (!vtep || address === undefined || this.#told.get(id) === address) return [];
      this.#told.set(id, address);
      return this.#collectorsAt(vtep, address).map(
        ({ id: mirror, text }): Notice => ({ level: 'warning', kind: 'mirror', id: mirror, text }),
      );
    });
  }

  /** Error: `invalid`, for a mirror that is to send copies to such an address. */
  check(draft: Draft): void {
    const { index } = draft;
    const problems = draft.changes().flatMap(({ after }) => {
      const collector = after?.kind === 'mirror' ? after.to.collector : undefined;
      if (after?.kind !== 'mirror' || !collector) return [];
      return [...this.#ends(index)]
        .filter(({ address }) => address === collector.address)
        .map(({ vtep, address }) => ({
          ...{ object: describe(index, after), path: 'to.collector.address', code: 'collector' as const },
          message: `${address} is where the tunnels of ${describe(index, vtep)} end, as its database says`,
        }));
    });
    if (problems.length > 0) throw problemsError(problems);
  }

  /** Mirrors that were there before. */
  problems(): readonly StatusProblem[] {
    return [...this.#ends(this.#index)].flatMap(({ vtep, address }) =>
      this.#collectorsAt(vtep, address).map(({ id, name, text }) => ({ about: { kind: 'mirror', id, name }, text })),
    );
  }

  *#ends(index: ModelIndex): Iterable<{ readonly vtep: Vtep; readonly address: string }> {
    for (const [id, address] of this.#told) {
      const vtep = index.get('vtep', id);
      // What is written is what it has.
      if (vtep && vtep.tunnelAddress === undefined) yield { vtep, address };
    }
  }

  #collectorsAt(vtep: Vtep, address: string): readonly (Pick<Mirror, 'id' | 'name'> & { readonly text: string })[] {
    if (vtep.tunnelAddress !== undefined) return [];
    return [...this.#index.all('mirror')].flatMap((mirror) => {
      if (mirror.to.collector?.address !== address) return [];
      const where = `${address}, where the tunnels of ${describe(this.#index, vtep)} end`;
      const text = `${describe(this.#index, mirror)} sends copies to ${where}: it may take them for frames of its networks; name another collector`;
      return [{ id: mirror.id, name: mirror.name, text }];
    });
  }
}
