import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { findOpenVswitch } from '../lab/open-vswitch.ts';
import { CT_ALG } from '../openflow/flow.ts';
import { parseFlow } from '../openflow/text/flow.ts';
import type { Layer4 } from '../packet/packet.ts';
import { frame, ip } from './frames.fixture.ts';
import { OpenVswitchFixture } from './open-vswitch.fixture.ts';
import { createPipeline, type Pipeline } from './pipeline.ts';
import { SHOW, show } from './random-tracking.fixture.ts';

/** What helpers let in, with translation and without, held against a real Open vSwitch, whose helper reads what is said. */
const found = await findOpenVswitch().catch((error: Error) => error.message);
if (typeof found !== 'string' && found.dir !== undefined) process.env.WEFT_OVS_DIR = found.dir;
const skip = typeof found === 'string' ? found : false;

const ENDS = {
  4: { client: '10.0.0.1', server: '10.9.0.1', seen: '192.0.2.1', called: '198.51.100.1' },
  6: { client: '2001:db8::1', server: '2001:db8:9::1', seen: '2001:db8:77::1', called: '2001:db8:78::1' },
} as const;
const [MAC1, MAC2] = ['02:00:00:00:00:01', '02:00:00:00:00:02'] as const;
type Translated = 'nothing' | 'source' | 'destination';

function flows(version: 4 | 6, translated: Translated): string[] {
  const type = version === 4 ? 'ip' : 'ipv6';
  const [tcp, udp] = version === 4 ? ['tcp', 'udp'] : ['tcp6', 'udp6'];
  const { server, seen } = ENDS[version];
  const address = (text: string): string => (version === 4 ? text : `[${text}]`);
  const nat = {
    nothing: '',
    source: `,nat(src=${address(seen)})`,
    destination: `,nat(dst=${address(server)})`,
  }[translated];
  const ask = `ct(zone=5${nat === '' ? '' : ',nat'},table=1)`;
  return [
    ...[1, 2].map((port) => `in_port=${port},${type} actions=set_field:${3 - port}->reg3,${ask}`),
    `table=1,priority=9,ct_state=+new-rel+trk,${tcp} actions=ct(commit,zone=5${nat},alg=ftp,table=${SHOW},exec(set_field:5->ct_mark))`,
    `table=1,priority=9,ct_state=+new-rel+trk,${udp} actions=ct(commit,zone=5${nat},alg=tftp,table=${SHOW},exec(set_field:6->ct_mark))`,
    `table=1,priority=8,ct_state=+new+rel+trk,${type} actions=ct(commit,zone=5${nat},table=${SHOW},exec(set_field:9->ct_mark))`,
    `table=1,priority=1 actions=resubmit(,${SHOW})`,
    ...show(),
  ];
}

describe('what helpers expect', { skip }, () => {
  let ovs: OpenVswitchFixture;
  before(async () => {
    ovs = await OpenVswitchFixture.start(2);
    await ovs.control('dpctl/ct-disable-tcp-seq-chk', 'dummy@ovs-dummy');
  });
  after(() => ovs.stop());

  /** The same frame through both; what leaves is to be the same, but where a helper has rewritten what is said. */
  async function same(pipeline: Pipeline, inPort: 1 | 2, bytes: Uint8Array, what: string): Promise<void> {
    const theirs = [...(await ovs.receive(inPort, bytes))].flatMap(([port, list]) =>
      list.map((hex) => `${port} ${hex}`),
    );
    const ours = pipeline
      .run({ bytes, inPort })
      .outputs.map(({ port, bytes: out }) => `${port} ${Buffer.from(out).toString('hex')}`);
    const shown = (lines: readonly string[]): string[] =>
      lines.map((line) => (what === 'said' ? line.slice(0, 26) : line));
    assert.deepEqual(shown(ours.sort()), shown(theirs.sort()), what);
    assert.ok(ours.length > 0, `${what}: it leaves`);
  }

  for (const version of [4, 6] as const)
    for (const translated of ['nothing', 'source', 'destination'] as const)
      test(`begins as from Open vSwitch: IPv${version}, ${translated} translated`, async () => {
        const { client, server, seen, called } = ENDS[version];
        const out = { from: client, to: translated === 'destination' ? called : server };
        const back = { from: server, to: translated === 'source' ? seen : client };
        const text = flows(version, translated);
        ovs.setFlows(text);
        await ovs.control('dpctl/flush-conntrack');
        await ovs.control('revalidator/purge');
        const pipeline = createPipeline({ flows: text.map(parseFlow), ports: [1, 2], fragments: 'nxMatch' });
        const sent = (l4: Layer4, said = ''): Uint8Array =>
          frame(MAC1, MAC2, { ...ip(out.from, out.to, l4), payload: Buffer.from(said) });
        const answered = (l4: Layer4, said = ''): Uint8Array =>
          frame(MAC2, MAC1, { ...ip(back.from, back.to, l4), payload: Buffer.from(said) });
        await same(pipeline, 1, sent(tcp(1000, 21, SYN)), 'control');
        await same(pipeline, 2, answered(tcp(21, 1000, SYN | ACK)), 'control, answered');
        await same(pipeline, 1, sent(tcp(1000, 21, ACK)), 'control, acknowledged');
        const [control] = [...pipeline.conntrack.connections()].filter(({ alg }) => alg === CT_ALG.ftp);
        assert.ok(control);

        const words = server.replaceAll('.', ',');
        const passive =
          version === 4
            ? `227 Entering Passive Mode (${words},156,64).\r\n`
            : '229 Entering Extended Passive Mode (|||40000|)\r\n';
        await same(pipeline, 2, answered(tcp(21, 1000, ACK), passive), 'said');
        pipeline.conntrack.expect(control, true, 40_000);
        await same(pipeline, 1, sent(tcp(3000, 40_000, SYN)), 'passive data');
        await same(pipeline, 2, answered(tcp(40_000, 3000, SYN | ACK)), 'passive data, answered');
        await same(pipeline, 1, sent(tcp(3000, 40_000, ACK)), 'passive data, acknowledged');

        const active =
          version === 4 ? `PORT ${client.replaceAll('.', ',')},195,80\r\n` : `EPRT |2|${client}|50000|\r\n`;
        await same(pipeline, 1, sent(tcp(1000, 21, ACK), active), 'said');
        pipeline.conntrack.expect(control, false, 50_000);
        await same(pipeline, 2, answered(tcp(20, 50_000, SYN)), 'active data');
        await same(pipeline, 1, sent(tcp(50_000, 20, SYN | ACK)), 'active data, answered');
        await same(pipeline, 2, answered(tcp(20, 50_000, ACK)), 'active data, acknowledged');

        await same(pipeline, 1, sent(udp(1000, 69)), 'TFTP');
        await same(pipeline, 2, answered(udp(5000, 1000)), 'TFTP, answered from another port');
        await same(pipeline, 1, sent(udp(1000, 5000)), 'TFTP, acknowledged');
      });
});

const SYN = 2;
const ACK = 16;

function tcp(srcPort: number, dstPort: number, flags: number): Layer4 {
  const numbers = { sequence: 1, acknowledgement: flags & ACK ? 1 : 0, window: 9000, urgent: 0 };
  return { kind: 'tcp', srcPort, dstPort, flags, options: new Uint8Array(0), ...numbers };
}

function udp(srcPort: number, dstPort: number): Layer4 {
  return { kind: 'udp', srcPort, dstPort, noChecksum: false };
}
