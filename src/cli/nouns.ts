import type { Command } from 'commander';

/** The contract of a file under `nouns/`: adds its command (with options, help and action) to the program. */
export interface Noun {
  register(program: Command): void;
}

/** All commands in the order of the help text. */
export const NOUNS: Readonly<
  Record<string, { readonly about: string; readonly hidden?: boolean; load(): Promise<Noun> }>
> = {
  status: { about: 'is everything all right? verdict first, next step last', load: () => import('./nouns/status.ts') },
  apply: { about: 'make the desired state be what YAML files say', load: () => import('./nouns/apply.ts') },
  diff: { about: 'what apply would change', load: () => import('./nouns/diff.ts') },
  get: { about: 'list objects of a kind', load: () => import('./nouns/get.ts') },
  describe: { about: 'all about one object, with its status and events', load: () => import('./nouns/describe.ts') },
  create: { about: 'create one object', load: () => import('./nouns/create.ts') },
  delete: { about: 'delete objects', load: () => import('./nouns/delete.ts') },
  watch: { about: 'follow changes as they happen', load: () => import('./nouns/watch.ts') },
  show: { about: 'the network as a tree', load: () => import('./nouns/show.ts') },
  trace: { about: 'what would happen to a packet, and why', load: () => import('./nouns/trace.ts') },
  bgp: { about: 'peers outside, and what was learned of them', load: () => import('./nouns/bgp.ts') },
  flows: { about: 'who talks to whom, now and at a time before', load: () => import('./nouns/flows.ts') },
  sync: { about: 'wait until every host has applied what was written', load: () => import('./nouns/sync.ts') },
  capture: { about: 'packets at a logical port, on whichever host it is', load: () => import('./nouns/capture.ts') },
  activate: { about: "move a port's traffic to a host that claims it", load: () => import('./nouns/activate.ts') },
  drain: { about: 'take traffic with the outside away from a gateway', load: () => import('./nouns/drain.ts') },
  undrain: { about: 'give it back', load: () => import('./nouns/undrain.ts') },
  explain: { about: 'which objects a flow (its cookie) comes from', load: () => import('./nouns/explain.ts') },
  doctor: { about: 'is this host fit, and are its flows as they should be?', load: () => import('./nouns/doctor.ts') },
  context: { about: 'which server the commands talk to', load: () => import('./nouns/context.ts') },
  completion: { about: 'completion for bash, zsh or fish', load: () => import('./nouns/completion.ts') },
  server: { about: 'run the server', load: () => import('./nouns/server.ts') },
  agent: { about: 'run the agent of this host', load: () => import('./nouns/agent.ts') },
  lab: { about: 'a datacentre on this machine, of network namespaces', load: () => import('./nouns/lab.ts') },
};
