import type { LoadBalancer } from '../model/objects.ts';
import { keepingMembers, keepsForS } from '../model/serving.ts';
import type { ModelView } from '../model/view.ts';

/** A client whose slot leads elsewhere than to the member that it keeps (docs/design/layer3.md, §8, "Kept clients"). */
export interface KeptClientStatus {
  readonly client: string;
  /** Name of its port. */
  readonly member: string;
  /** Milliseconds since the epoch: so long it is kept if it is not seen again. */
  readonly untilMs: number;
}

const MOST_SHOWN = 100;

/** Those who are kept longest first; how many there are, and as many as people look at. */
export function keptClientsOf(
  model: ModelView,
  balancer: LoadBalancer,
  isDead: (host: string) => boolean,
): { readonly keptClients: number; readonly kept: readonly KeptClientStatus[] } | undefined {
  const forS = keepsForS(balancer);
  if (forS === undefined) return undefined;
  const may = keepingMembers(model, balancer, isDead);
  const found = new Map<string, KeptClientStatus>();
  for (const { members } of model.keptClientsOf(balancer.id))
    for (const { port, clients } of members)
      for (const [client, seenS] of may.has(port) ? Object.entries(clients) : []) {
        const untilMs = (seenS + forS) * 1000;
        if ((found.get(client)?.untilMs ?? 0) < untilMs)
          found.set(client, { client, member: model.get('port', port)?.name ?? port, untilMs });
      }
  const kept = [...found.values()].sort((a, b) => b.untilMs - a.untilMs);
  return { keptClients: kept.length, kept: kept.slice(0, MOST_SHOWN) };
}
