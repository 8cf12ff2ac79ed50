import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatIpv4, parseIpv4, parseMac } from '../base/addresses.ts';
import { parseFlow } from '../openflow/text/flow.ts';
import { ICMP_UNREACHABLE } from '../packet/icmp.ts';
import { ipv4Header } from '../packet/ipv4.ts';
import { decodePacket, encodePacket, type Layer4 } from '../packet/packet.ts';
import { CT_STATE } from './conntrack.ts';
import { placeOf } from './layout.ts';
import { createPipeline, type Pipeline } from './pipeline.ts';

const [MAC1, MAC2] = [parseMac('02:00:00:00:00:01')!, parseMac('02:00:00:00:00:02')!];
const [CLIENT, SERVER, PUBLIC] = ['10.0.0.1', '10.0.0.2', '192.0.2.1'] as const;
const {
  new: NEW,
  established: EST,
  related: REL,
  reply: RPL,
  invalid: INV,
  tracked: TRK,
  srcNat: SNAT,
  dstNat: DNAT,
} = CT_STATE;
const STATE_WORD = placeOf('ct_state').word;
const SYN = 2;
const ACK = 16;

function frame(src: string, dst: string, protocol: number, l4: Layer4, payload: Uint8Array): Uint8Array {
  return encodePacket({
    ethernet: { dst: MAC2, src: MAC1, etherType: 0x0800 },
    vlans: [],
    l3: { kind: 'ipv4', ...ipv4Header({ src: parseIpv4(src)!, dst: parseIpv4(dst)!, protocol }) },
    l4,
    payload,
  }).slice();
}

const PAYLOAD = new Uint8Array(8);

function tcp(src: string, srcPort: number, dst: string, dstPort: number, flags: number): Uint8Array {
  const header = { sequence: 1, acknowledgement: 1, flags, window: 100, urgent: 0, options: new Uint8Array(0) };
  return frame(src, dst, 6, { kind: 'tcp', srcPort, dstPort, ...header }, PAYLOAD);
}

function udp(src: string, srcPort: number, dst: string, dstPort: number): Uint8Array {
  return frame(src, dst, 17, { kind: 'udp', srcPort, dstPort, noChecksum: false }, PAYLOAD);
}

function echo(src: string, dst: string, type: number): Uint8Array {
  return frame(src, dst, 1, { kind: 'icmp', type, code: 0, rest: 0x0005_0001 }, PAYLOAD);
}

/** Tracks in table 0, tells the state by a packet-in in table 1. */
function tracker(action: string, ...more: string[]): Pipeline {
  return createPipeline({
    flows: [`ip actions=${action}`, 'table=1 actions=CONTROLLER:65535', ...more].map(parseFlow),
  });
}

/** The `ct_state` with which a packet arrives in table 1. */
function state(pipeline: Pipeline, bytes: Uint8Array): number {
  const { key } = pipeline.run({ bytes, inPort: 1 }).packetIns[0]!.state;
  return key[STATE_WORD]!;
}

/** Addresses and ports with which a packet arrives in table 1, checksums verified. */
function ends(pipeline: Pipeline, bytes: Uint8Array): string {
  const out = decodePacket(pipeline.run({ bytes, inPort: 1 }).packetIns[0]!.bytes, { verifyChecksums: true });
  assert.ok(out.l3?.kind === 'ipv4');
  const ports = out.l4 && 'srcPort' in out.l4 ? [`:${out.l4.srcPort}`, `:${out.l4.dstPort}`] : ['', ''];
  return `${formatIpv4(out.l3.src)}${ports[0]} > ${formatIpv4(out.l3.dst)}${ports[1]}`;
}

describe('states', () => {
  test('a connection is new until it is answered, and only when it is committed', () => {
    const looking = tracker('ct(table=1)');
    const request = udp(CLIENT, 1000, SERVER, 53);
    assert.equal(state(looking, request), TRK | NEW);
    assert.equal(state(looking, request), TRK | NEW);
    assert.equal(state(looking, udp(SERVER, 53, CLIENT, 1000)), TRK | NEW, 'nothing was committed');
    const committing = tracker('ct(commit,table=1)');
    assert.equal(state(committing, request), TRK | NEW);
    assert.equal(state(committing, request), TRK | NEW);
    assert.equal(state(committing, udp(SERVER, 53, CLIENT, 1000)), TRK | EST | RPL);
    assert.equal(state(committing, request), TRK | EST);
  });

  test('TCP opens with a SYN and may open anew after a reset', () => {
    const pipeline = tracker('ct(commit,table=1)');
    assert.equal(state(pipeline, tcp(SERVER, 80, CLIENT, 1000, SYN | ACK)), TRK | INV);
    assert.equal(state(pipeline, tcp(CLIENT, 1000, SERVER, 80, SYN)), TRK | NEW);
    assert.equal(state(pipeline, tcp(SERVER, 80, CLIENT, 1000, SYN | ACK)), TRK | EST | RPL);
    assert.equal(state(pipeline, tcp(CLIENT, 1000, SERVER, 80, ACK)), TRK | EST);
    state(pipeline, tcp(SERVER, 80, CLIENT, 1000, 4));
    assert.equal(state(pipeline, tcp(CLIENT, 1000, SERVER, 80, SYN)), TRK | NEW);
  });

  test('an echo is answered under its identifier; an answer to nothing is invalid', () => {
    const pipeline = tracker('ct(commit,table=1)');
    assert.equal(state(pipeline, echo(SERVER, CLIENT, 0)), TRK | INV);
    assert.equal(state(pipeline, echo(CLIENT, SERVER, 8)), TRK | NEW);
    assert.equal(state(pipeline, echo(SERVER, CLIENT, 0)), TRK | EST | RPL);
  });

  test('an ICMP error is related to the connection that it quotes', () => {
    const pipeline = tracker('ct(commit,table=1)');
    const request = udp(CLIENT, 1000, SERVER, 53);
    state(pipeline, request);
    const error = { kind: 'icmp', type: 3, code: ICMP_UNREACHABLE.port, rest: 0 } as const;
    assert.equal(state(pipeline, frame(SERVER, CLIENT, 1, error, request.subarray(14, 42))), TRK | REL | RPL);
    const other = udp(CLIENT, 1001, SERVER, 53).subarray(14, 42);
    assert.equal(state(pipeline, frame(SERVER, CLIENT, 1, error, other)), TRK | INV);
  });

  test('zones keep connections apart', () => {
    const flows = ['in_port=1,ip actions=ct(commit,zone=1,table=1)', 'in_port=2,ip actions=ct(zone=2,table=1)'];
    const pipeline = createPipeline({ flows: [...flows, 'table=1 actions=CONTROLLER:65535'].map(parseFlow) });
    const send = (inPort: number): number =>
      pipeline.run({ bytes: udp(CLIENT, 1, SERVER, 2), inPort }).packetIns[0]!.state.key[STATE_WORD]!;
    pipeline.run({ bytes: udp(CLIENT, 1, SERVER, 2), inPort: 1 });
    pipeline.run({ bytes: udp(SERVER, 2, CLIENT, 1), inPort: 1 });
    assert.deepEqual([send(1), send(2)], [TRK | EST, TRK | NEW]);
    pipeline.conntrack.flush(1);
    assert.equal(send(1), TRK | NEW);
  });

  test('states can be given in place of tracking', () => {
    const flows = ['ip actions=ct(table=1)', 'table=1,ct_state=+est+trk,ip actions=output:7'].map(parseFlow);
    const result = createPipeline({ flows }).run({ bytes: udp(CLIENT, 1, SERVER, 2), inPort: 1, ctStates: [EST] });
    assert.deepEqual(
      result.outputs.map(({ port }) => port),
      [7],
    );
  });

  test('what is not IP, and what comes after the action, is untracked', () => {
    const flows = [
      'actions=ct(table=1),resubmit(,2)',
      'table=1,ct_state=+trk actions=output:1',
      'table=1,ct_state=-trk actions=output:2',
      'table=2,ct_state=-trk actions=output:3',
    ];
    const pipeline = createPipeline({ flows: flows.map(parseFlow) });
    const run = (bytes: Uint8Array): number[] => pipeline.run({ bytes, inPort: 9 }).outputs.map(({ port }) => port);
    assert.deepEqual(run(udp(CLIENT, 1, SERVER, 2)), [1, 3]);
    const foreign = udp(CLIENT, 1, SERVER, 2);
    foreign[13] = 0x99;
    assert.deepEqual(run(foreign), [2, 3]);
  });
});

test('marks and labels stay with the connection, bits outside a mask untouched', () => {
  const pipeline = createPipeline({
    flows: [
      'in_port=1,ip actions=ct(commit,table=1,exec(set_field:0x12->ct_mark,set_field:0x7->ct_label))',
      'in_port=2,ip actions=ct(commit,table=1,exec(set_field:0x100/0x100->ct_mark))',
      'table=1,ip,ct_mark=0x12,ct_label=0x7 actions=output:5',
      'table=1,ip,ct_mark=0x112,ct_label=0x7 actions=output:6',
    ].map(parseFlow),
  });
  const send = (inPort: number): number[] =>
    pipeline.run({ bytes: udp(CLIENT, 1, SERVER, 2), inPort }).outputs.map(({ port }) => port);
  assert.deepEqual([send(1), send(2), send(2)], [[5], [6], [6]]);
});

test('a lookup with ct takes the original addresses and ports', () => {
  const pipeline = tracker(
    `ct(commit,table=2,nat(dst=${SERVER}:80))`,
    'table=2,ip actions=resubmit(,3,ct)',
    `table=3,tcp,nw_dst=${PUBLIC},tp_dst=8080 actions=output:4`,
  );
  const result = pipeline.run({ bytes: tcp(CLIENT, 1000, PUBLIC, 8080, SYN), inPort: 1 });
  assert.deepEqual(
    result.outputs.map(({ port }) => port),
    [4],
  );
  const out = decodePacket(result.outputs[0]!.bytes, { verifyChecksums: true });
  assert.ok(out.l3?.kind === 'ipv4' && formatIpv4(out.l3.dst) === SERVER);
});

describe('translation', () => {
  test('of the source, both ways', () => {
    const pipeline = tracker(`ct(commit,table=1,nat(src=${PUBLIC}))`);
    assert.equal(ends(pipeline, udp(CLIENT, 1000, SERVER, 53)), `${PUBLIC}:1000 > ${SERVER}:53`);
    const back = udp(SERVER, 53, PUBLIC, 1000);
    assert.equal(ends(pipeline, back), `${SERVER}:53 > ${CLIENT}:1000`);
    assert.equal(state(pipeline, back), TRK | EST | RPL | DNAT);
    assert.equal(state(pipeline, udp(CLIENT, 1000, SERVER, 53)), TRK | EST | SNAT);
  });

  test('of the destination, both ways', () => {
    const pipeline = tracker(`ct(commit,table=1,nat(dst=${SERVER}:8080))`);
    assert.equal(ends(pipeline, tcp(CLIENT, 1000, PUBLIC, 80, SYN)), `${CLIENT}:1000 > ${SERVER}:8080`);
    assert.equal(ends(pipeline, tcp(SERVER, 8080, CLIENT, 1000, SYN | ACK)), `${PUBLIC}:80 > ${CLIENT}:1000`);
  });

  test('takes another port of the range when one is taken, and none when all are', () => {
    const pipeline = tracker(`ct(commit,table=1,nat(src=${PUBLIC}:2000-2001))`);
    assert.equal(ends(pipeline, udp(CLIENT, 1000, SERVER, 53)), `${PUBLIC}:2000 > ${SERVER}:53`);
    assert.equal(ends(pipeline, udp(CLIENT, 1001, SERVER, 53)), `${PUBLIC}:2001 > ${SERVER}:53`);
    assert.equal(ends(pipeline, udp(CLIENT, 1002, SERVER, 53)), `${CLIENT}:1002 > ${SERVER}:53`, 'as it was');
    assert.equal(ends(pipeline, udp(CLIENT, 1000, SERVER, 54)), `${PUBLIC}:2000 > ${SERVER}:54`, 'another peer');
  });

  test('bare nat translates known connections only', () => {
    const pipeline = createPipeline({
      flows: [
        `in_port=1,ip actions=ct(commit,table=1,nat(src=${PUBLIC}))`,
        'in_port=2,ip actions=ct(nat,table=1)',
        'table=1 actions=output:9',
      ].map(parseFlow),
    });
    const send = (bytes: Uint8Array): string => {
      const out = decodePacket(pipeline.run({ bytes, inPort: 2 }).outputs[0]!.bytes, { verifyChecksums: true });
      return out.l3?.kind === 'ipv4' ? formatIpv4(out.l3.dst) : '';
    };
    assert.equal(send(udp(SERVER, 53, PUBLIC, 1000)), PUBLIC);
    pipeline.run({ bytes: udp(CLIENT, 1000, SERVER, 53), inPort: 1 });
    assert.equal(send(udp(SERVER, 53, PUBLIC, 1000)), CLIENT);
  });

  test('of echoes keeps the identifier', () => {
    const pipeline = tracker(`ct(commit,table=1,nat(src=${PUBLIC}))`);
    assert.equal(ends(pipeline, echo(CLIENT, SERVER, 8)), `${PUBLIC} > ${SERVER}`);
    assert.equal(ends(pipeline, echo(SERVER, PUBLIC, 0)), `${SERVER} > ${CLIENT}`);
  });
});

test('a full zone lets packets pass as new ones, without a connection and its mark', () => {
  const flows = [
    'in_port=1,ip actions=ct(commit,table=1,exec(set_field:4->ct_mark))',
    'table=1,ct_mark=4 actions=output:9',
  ];
  const pipeline = createPipeline({ flows: flows.map(parseFlow) });
  pipeline.conntrack.limit(0, 1);
  const passes = (port: number): boolean =>
    pipeline.run({ bytes: udp(CLIENT, port, SERVER, 53), inPort: 1 }).outputs.length > 0;
  assert.deepEqual([passes(1000), passes(1001), passes(1000)], [true, false, true]);
});
