import { agentStart } from './agent-start.ts';
import { aggregate } from './aggregate.ts';
import type { Bench } from './bench.ts';
import { codecs } from './codecs.ts';
import { datapath } from './datapath.ts';
import { flowInstall } from './flow-install.ts';
import { flowStore } from './flow-store.ts';
import { flowsPerHost } from './flows-per-host.ts';
import { gatewayConnections } from './gateway-connections.ts';
import { OVN_CONTROL } from './ovn-control.ts';
import { ovnDatapath } from './ovn-datapath.ts';
import { ovnPaths } from './ovn-paths.ts';
import { packetIn } from './packet-in.ts';
import { plug } from './plug.ts';
import { portAdd } from './port-add.ts';
import { restart } from './restart.ts';
import { spray } from './spray.ts';

/** All benches, in the order in which they run: first what decides, last what only informs. */
export const CATALOGUE: readonly Bench[] = [
  flowInstall,
  agentStart,
  portAdd,
  plug,
  packetIn,
  datapath,
  spray,
  restart,
  flowsPerHost,
  codecs,
  flowStore,
  aggregate,
  ...OVN_CONTROL,
  ovnDatapath,
  ovnPaths,
  gatewayConnections,
];
