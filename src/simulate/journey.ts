import { isMulticastMac } from '../base/addresses.ts';
import type { ModelView } from '../model/view.ts';
import { isGroupIp } from './addresses.ts';
import { isIcmpError } from './frame.ts';
import type {
  AgentRequest,
  AgentService,
  Anchoring,
  Answer,
  Copy,
  Delivery,
  Drop,
  DropReason,
  ObjectRef,
  Outcome,
  RequestService,
  Step,
} from './outcome.ts';
import type { Leg, Packet } from './packet.ts';
import type { Tracker } from './tracker.ts';

/** What is known of one packet's way so far. One journey per simulated frame; the parts of `simulate` write into it. */
export class Journey {
  readonly model: ModelView;
  readonly tracker: Tracker;
  readonly #legs: Leg[] = [];
  readonly #deliveries: Delivery[] = [];
  readonly #drops: Drop[] = [];
  readonly #requests: AgentRequest[] = [];
  readonly #anchored: Anchoring[] = [];
  readonly #copies: Copy[] = [];
  readonly #logs: string[] = [];
  readonly #steps: Step[] = [];
  answer: Answer | undefined;
  agent: AgentService | undefined;
  learns: { readonly vlan: number; readonly mac: string } | undefined;
  activates = false;

  constructor(model: ModelView, tracker: Tracker) {
    this.model = model;
    this.tracker = tracker;
  }

  /** Where the packet, or a copy, goes on. */
  goOn(leg: Leg): void {
    this.#legs.push(leg);
  }

  /** The next leg of the copy that was split off last: one copy's story ends before the next one's begins. */
  nextLeg(): Leg | undefined {
    return this.#legs.pop();
  }

  step(host: string, about: ObjectRef, text: string): void {
    this.#steps.push({ host, about, text });
  }

  drop(reason: DropReason, host: string, by: ObjectRef, to?: string): void {
    this.#drops.push({ reason, host, by, ...(to === undefined ? {} : { to }) });
  }

  /** The host's agent is asked about the packet, which goes no further. */
  ask(service: RequestService, { host, frame }: Pick<Packet, 'host' | 'frame'>, at: ObjectRef, address?: string): void {
    this.#requests.push({
      ...{ service, host, at },
      ...(address === undefined ? {} : { address }),
      isSilent: !ANSWERLESS.has(service) && mustNotBeAnswered(frame),
    });
  }

  anchor(anchoring: Anchoring): void {
    this.#anchored.push(anchoring);
  }

  copy(copy: Copy): void {
    this.#copies.push(copy);
  }

  deliver(delivery: Delivery): void {
    this.#deliveries.push(delivery);
  }

  log(rule: string): void {
    this.#logs.push(rule);
  }

  outcome(): Outcome {
    return {
      deliveries: this.#deliveries,
      drops: this.#drops,
      ...(this.answer === undefined ? {} : { answer: this.answer }),
      ...(this.agent === undefined ? {} : { agent: this.agent }),
      requests: this.#requests,
      commits: this.tracker.changed(),
      anchored: this.#anchored,
      copies: this.#copies,
      ...(this.learns === undefined ? {} : { learns: this.learns }),
      activates: this.activates,
      logs: this.#logs,
      steps: this.#steps,
    };
  }
}

/** Nobody waits for an answer to these. */
const ANSWERLESS: ReadonlySet<RequestService> = new Set(['resolve', 'neighbour', 'health', 'next-hop', 'hello']);

/** ICMP errors and resets are sent about none of these (RFC 1122 §3.2.2, RFC 4443 §2.4). */
function mustNotBeAnswered(frame: Packet['frame']): boolean {
  const { ip } = frame;
  if (isMulticastMac(frame.dst)) return true;
  if (!ip || ip.fragment === 'later' || isIcmpError(frame)) return true;
  return isGroupIp(ip.dst) || isGroupIp(ip.src) || ip.src.value === 0 || ip.src.value === 0n;
}
