import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { DecodeError } from '../../base/errors.ts';
import type { Action, Flow } from '../flow.ts';
import { anyFlow } from './arbitrary-flow.ts';
import { formatFlow, formatInstructions, parseFlow } from './flow.ts';
import { formatMatch, parseMatch } from './match.ts';

const RUNS = process.env.WEFT_CAMPAIGN ? 20_000 : 500;

test('a flow formatted and parsed again is the same flow', () => {
  fc.assert(
    fc.property(anyFlow, (flow) => {
      const text = formatFlow(flow);
      assert.deepEqual(parseFlow(text), flow, text);
      assert.equal(formatFlow(parseFlow(text)), text);
    }),
    { numRuns: RUNS },
  );
});

test('text as operators write it parses to what it means', () => {
  assert.deepEqual(
    parseFlow('table=0,priority=100,tcp,nw_dst=10.0.0.0/24,tp_dst=80 actions=load:0x1->NXM_NX_REG0[],resubmit(,10)'),
    {
      table: 0,
      priority: 100,
      cookie: 0n,
      match: { eth_type: 0x0800, ip_proto: 6, ip_dst: { value: 0x0a000000, mask: 0xffffff00 }, tcp_dst: 80 },
      actions: [
        { kind: 'load', value: 1, dst: { field: 'reg0', from: 0, bits: 32 } },
        { kind: 'resubmit', table: 10 },
      ],
    } satisfies Flow,
  );
  assert.deepEqual(parseMatch('reg0[4..7]=3,reg0[0]=1'), { reg0: { value: 0x31, mask: 0xf1 } });
  assert.deepEqual(parseMatch('dl_vlan=7,dl_vlan_pcp=3'), { vlan_vid: 0x1007, vlan_pcp: 3 });
  assert.deepEqual(parseMatch('vlan_tci=0x0000/0x1fff'), { vlan_vid: 0 });
  assert.equal(formatMatch({ xreg0: 0x1_0000_0002n }), 'reg0=0x1,reg1=0x2');
  assert.equal(formatMatch({ vlan_vid: 0 }), 'vlan_tci=0x0000/0x1fff');
});

test('text that does not parse gives a DecodeError with its place', () => {
  const bad: [text: string, offset: number][] = [
    ['priority=100', 12],
    ['priority=70000 actions=drop', 9],
    ['tp_dst=80 actions=drop', 0],
    ['ip,nw_dst=10.0.0.256 actions=drop', 10],
    ['ip,frobnicate=1 actions=drop', 3],
    ['ip actions=frobnicate', 11],
    ['ip actions=load:0x100->NXM_NX_REG0[0..7]', 16],
    ['ip actions=move:NXM_NX_REG0[]->NXM_NX_REG1[0..3]', 16],
    ['ip actions=ct(commit', 20],
    ['ip actions=conjunction(1,3/2)', 23],
    ['ip actions=drop,output:1', 11],
    ['ip,ip,arp actions=drop', 6],
  ];
  for (const [text, offset] of bad) {
    assert.throws(
      () => parseFlow(text),
      (error) => error instanceof DecodeError && error.code === 'bad-text' && error.offset === offset,
      `${text}: ${offset}`,
    );
  }
});

test('mutated text gives a flow or a DecodeError, never another exception', () => {
  fc.assert(
    fc.property(anyFlow, fc.nat(), fc.string({ maxLength: 3 }), fc.nat(4), (flow, at, insert, cut) => {
      const text = formatFlow(flow);
      const place = at % text.length;
      try {
        parseFlow(text.slice(0, place) + insert + text.slice(place + cut));
      } catch (error) {
        if (!(error instanceof DecodeError)) throw error;
      }
    }),
    { numRuns: RUNS * 4 },
  );
});

function ovsVersion(): string | undefined {
  try {
    return execFileSync('ovs-ofctl', ['--version'], { encoding: 'utf8' }).split('\n')[0];
  } catch {
    return undefined;
  }
}

/** What `ovs-ofctl` makes of flows after encoding and decoding them in OpenFlow `protocol`: match and actions of each. */
function throughOvs(flows: readonly Flow[], protocol: string): { match: string; actions: string }[] {
  const dir = mkdtempSync(join(tmpdir(), 'weft-text-'));
  try {
    const file = join(dir, 'flows');
    writeFileSync(file, flows.map((flow) => `${formatFlow(flow)}\n`).join(''));
    const out = execFileSync('ovs-ofctl', ['-O', protocol, 'parse-flows', file], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 1 << 28,
    });
    return out
      .split('\n')
      .filter((line) => line.startsWith('OFPT_FLOW_MOD') || line.startsWith('NXT_FLOW_MOD'))
      .map((line) => {
        const [, head = '', actions = ''] = /: ADD (.*?)actions=(.*)$/.exec(line) ?? [];
        const words = head
          .split(' ')
          .filter(
            (word) =>
              word !== '' &&
              !/^(table:|cookie:|idle:|hard:|importance:|send_flow_rem|check_overlap|reset_counts|no_)/.test(word),
          );
        return { match: words.join(' '), actions };
      });
  } finally {
    rmSync(dir, { recursive: true });
  }
}

const version = ovsVersion();

/** OpenFlow 1.3 has no masked set-field, and from 1.5 on a load is one: Open vSwitch prints the other instead. */
const FORMS: readonly (readonly [protocol: string, keep: (action: Action) => boolean])[] = [
  ['OpenFlow13', (action) => action.kind !== 'setField' || action.mask === undefined],
  ['OpenFlow15', (action) => action.kind !== 'load'],
];

function keepOnly(actions: readonly Action[], keep: (action: Action) => boolean): Action[] {
  return actions
    .filter(keep)
    .map((action) => (action.kind === 'clone' ? { ...action, actions: keepOnly(action.actions, keep) } : action));
}

for (const [protocol, keep] of FORMS) {
  const skip = version ? false : 'no ovs-ofctl here';
  test(`Open vSwitch takes what we format and prints the same, ${protocol}`, { skip }, () => {
    const flows = fc
      .sample(anyFlow, { numRuns: RUNS * 2, seed: 7 })
      .map((flow) => ({ ...flow, actions: keepOnly(flow.actions, keep) }));
    const printed = throughOvs(flows, protocol);
    assert.equal(printed.length, flows.length);
    for (const [i, flow] of flows.entries()) {
      const text = formatMatch(flow.match);
      const match = flow.priority === 32768 ? text : `priority=${flow.priority}${text && ','}${text}`;
      assert.equal(printed[i]!.match, match);
      assert.equal(printed[i]!.actions, formatInstructions(flow));
    }
  });
}
