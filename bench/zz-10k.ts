import { setTimeout as sleep } from 'node:timers/promises';
import { createContext } from './context.ts';
import { FlowWatch } from './flow-watch.ts';
import { planTenantPort, planTenantPorts } from './tenants.ts';
import { startWeftCloud } from './weft-cloud.ts';

const size = {
  tenants: Number(process.env.T ?? 200),
  switches: 2,
  ports: 25,
  localPorts: 200,
  placement: 'whole',
  outside: 'own',
} as const;
const { context, clean } = createContext({ quick: false, signal: new AbortController().signal, progress: () => {} });
try {
  const cloud = await startWeftCloud(context);
  const local = [
    ...new Set(
      planTenantPorts(size)
        .filter((p) => p.host === 0)
        .map((p) => p.tenant),
    ),
  ];
  const N = Number(process.env.N ?? 200);
  const added = Array.from({ length: N }, (_, i) =>
    planTenantPort(local[i % local.length]!, i % 2, size.ports + Math.floor(i / local.length), 0),
  );
  for (const [i, host] of cloud.hosts.entries()) {
    const own = [...planTenantPorts(size), ...added].filter((p) => p.host === i);
    for (let at = 0; at < own.length; at += 250)
      await cloud.lab
        .switchOf(host)
        .vsctl([
          '--timeout=600',
          ...own
            .slice(at, at + 250)
            .flatMap(({ id, name }) => [
              '--',
              'add-port',
              'br-int',
              name,
              '--',
              'set',
              'interface',
              name,
              'type=internal',
              `external_ids:iface-id=${id}`,
            ]),
        ]);
  }
  await cloud.createAll(size);
  await cloud.synced(60000);
  await sleep(8000);
  const watches = await Promise.all(cloud.hosts.map((h) => FlowWatch.of(context, cloud.lab, h)));
  const times: number[] = [];
  for (const port of added) {
    for (const w of watches) w.reset();
    const from = performance.now();
    await cloud.addPort(port);
    await sleep(120);
    times.push(Math.max(...watches.map((w) => w.lastMs)) - from);
  }
  times.splice(0, 60);
  times.sort((a, b) => a - b);
  console.log('port added median', times[times.length >> 1]!.toFixed(2));
  const rules: number[] = [];
  for (let i = 0; i < N; i++) {
    for (const w of watches) w.reset();
    const from = performance.now();
    await cloud.changeRule(0, 3000 + i);
    await sleep(120);
    rules.push(Math.max(...watches.map((w) => w.lastMs)) - from);
  }
  rules.splice(0, 60);
  rules.sort((a, b) => a - b);
  console.log('rule changed median', rules[rules.length >> 1]!.toFixed(2));
  if (process.env.PROF) {
    for (const p of cloud.processes()) if (p.role !== 'switch') process.kill(p.process.pid!, 'SIGTERM');
    await sleep(4000);
  }
  await cloud.stop();
} finally {
  await clean();
}
process.exit(0);
