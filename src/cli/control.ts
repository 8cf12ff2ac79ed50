import { existsSync } from 'node:fs';
import { WeftError } from '../base/errors.ts';
import { createClient } from '../server/client.ts';

/** The agent of this host, over its control socket: answers also while the server is away. */
export const DEFAULT_CONTROL_SOCKET = '/run/weft/agent.sock';

export async function askLocalAgent<T>(socket: string, path: string, body?: unknown): Promise<T> {
  if (!existsSync(socket))
    throw new WeftError(
      'unreachable',
      `no agent on this host: there is no ${socket}; 'weft agent run' starts one, --control names another socket`,
    );
  const client = createClient({ url: `unix:${socket}` });
  try {
    return body === undefined ? await client.get<T>(path) : await client.post<T>(path, body);
  } finally {
    client.close();
  }
}

/** What the agent's control socket answers (src/agent/control.ts). */
export interface AgentStatus {
  readonly host?: string;
  readonly name?: string;
  readonly serverConnected: boolean;
  readonly revision: number;
  readonly synced: boolean;
  readonly health: {
    readonly agentVersion: string;
    readonly openvswitchVersion: string;
    readonly datapathType: string;
    readonly flows: number;
    readonly localPorts: number;
    readonly problems: readonly string[];
  };
  /** Connections of L2 gateways: those that other places are told of, and those held for others. */
  readonly copies: { readonly told: number; readonly held: number };
  readonly ports: readonly {
    readonly id: string;
    readonly name?: string;
    readonly switch?: string;
    readonly interface: string;
    readonly ofport?: number;
    readonly state: string;
    readonly problem?: string;
  }[];
}

export interface AgentDoctor {
  readonly expected: number;
  readonly missing: readonly string[];
  readonly different: readonly { readonly expected: string; readonly installed: string }[];
  readonly unexpected: readonly string[];
  readonly health: AgentStatus['health'];
}

export interface ExplainedFlow {
  readonly flow: string;
  readonly cookie: string;
  readonly units?: readonly string[];
  readonly objects?: readonly { readonly kind: string; readonly id: string }[];
}
