import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Lab, removeLab } from '../../src/lab/lab.ts';
import { VtepEmulator } from '../../src/lab/vtep.ts';
import { plugIntoPort, type ShownPort, startWeftInLab, type WeftInLab, waitForPorts } from '../../src/lab/weft.ts';
import type { OutsideStatus, VtepStatus } from '../../src/server/present.ts';
import { eventually, pings } from './datacentre.ts';
import { labName, needsRoot } from './lab-name.ts';

/**
 * Two hardware VTEPs (Open vSwitch's emulator) joined to switches (docs/design/hardware-vteps.md):
 *
 *     red-1 on east, red-2 on gw-2 ── red ──┬─ VTEP tor-1: p1 ── srv-1
 *                                           └─ VTEP tor-2: p1 VLAN 30 ── srv-3
 *     blue-1 on east ── blue ── VTEP tor-1: p2 VLAN 20 ── srv-2
 */
const name = labName('vtep');
const GATEWAYS = ['gw-1', 'gw-2'] as const;

const acme = (kind: string, named: string, rest: object = {}) => ({ kind, tenant: 'acme', name: named, ...rest });
const wire = (named: string, device: string) =>
  acme('port', named, { switch: device, portSecurity: false, addresses: [] });
type Shown<S> = { readonly id: string; readonly status: S };

describe('hardware VTEPs', { skip: needsRoot }, () => {
  let lab: Lab;
  let weft: WeftInLab;
  let tor1: VtepEmulator;
  let ports: Map<string, ShownPort>;
  const apply = (...objects: object[]) => weft.client.post('/v1/apply', { objects });
  const bindingOf = async (binding: string): Promise<OutsideStatus> =>
    (await weft.client.get<Shown<OutsideStatus>>(`/v1/vtep-bindings/acme%2F${binding}`)).status;
  const vtepOf = async (vtep: string): Promise<VtepStatus> =>
    (await weft.client.get<Shown<VtepStatus>>(`/v1/vteps/${vtep}`)).status;
  const isWell = (binding: string, at = 'gw-1', timeoutMs = 15_000): Promise<boolean> =>
    eventually(`${binding} at ${at}`, timeoutMs, async () => {
      const { active, state } = await bindingOf(binding);
      return active === at && state === 'up';
    });
  const answers = (from: string, address: string, timeoutMs = 10_000): Promise<boolean> =>
    eventually(`${address} from ${from}`, timeoutMs, async () => {
      const { code } = await lab.exec(from, ['ping', '-c', '1', '-W', '0.3', address]);
      return code === 0;
    });

  before(async () => {
    lab = await Lab.start({
      name,
      hosts: [...GATEWAYS, 'east', 'tor-1', 'tor-2'].map((host) => ({ name: host })),
      workloads: [
        { name: 'red-1', host: 'east', addresses: ['10.1.0.1/24'] },
        { name: 'red-2', host: 'gw-2', addresses: ['10.1.0.2/24'] },
        { name: 'blue-1', host: 'east', addresses: ['10.2.0.1/24'] },
      ],
    });
    tor1 = await VtepEmulator.start(lab, 'tor-1', [
      { name: 'srv-1', port: 'p1', addresses: ['10.1.0.101/24'] },
      { name: 'srv-2', port: 'p2', vlan: 20, addresses: ['10.2.0.102/24'] },
    ]);
    weft = await startWeftInLab(lab, { strangers: ['tor-1', 'tor-2'] });
    await apply(
      { kind: 'tenant', name: 'acme' },
      {
        ...{ kind: 'vtep', name: 'tor-1', management: tor1.management, physicalPorts: ['p1', 'p2'] },
        places: GATEWAYS.map((host) => ({ host })),
      },
      acme('switch', 'red'),
      acme('port', 'red-1', { switch: 'red', addresses: ['10.1.0.1'] }),
      acme('port', 'red-2', { switch: 'red', addresses: ['10.1.0.2'] }),
      wire('red-tor-1', 'red'),
      acme('vtepBinding', 'red-tor-1', { port: 'red-tor-1', vtep: 'tor-1', physicalPorts: [{ port: 'p1' }] }),
    );
    ports = new Map();
    for (const workload of ['red-1', 'red-2'])
      ports.set(workload, await plugIntoPort(lab, weft.client, workload, `acme/${workload}`));
    await waitForPorts(
      weft.client,
      [...ports.values()].map(({ id }) => id),
    );
    await isWell('red-tor-1');
  });
  after(async () => {
    weft?.client.close();
    if (process.env.KEEP) return;
    await removeLab(name);
  });

  test('a machine behind a VTEP and workloads on two hosts reach each other', async () => {
    await answers('red-1', '10.1.0.101');
    await answers('srv-1', '10.1.0.1');
    await answers('srv-1', '10.1.0.2');
    assert.ok(await pings(lab, 'red-2', '10.1.0.101'));
    assert.equal((await vtepOf('tor-1')).state, 'connected');
  });
});
