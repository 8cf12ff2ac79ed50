import type { ModelView } from '../model/view.ts';
import type { Frame } from './frame.ts';
import type { AgentService, Answer, Delivery, Drop, DropReason, ObjectRef, Outcome, Step } from './outcome.ts';

/** What is known of one frame's way so far. One journey per simulated frame; the parts of `simulate` write into it. */
export class Journey {
  readonly model: ModelView;
  readonly frame: Frame;
  readonly #deliveries: Delivery[] = [];
  readonly #drops: Drop[] = [];
  readonly #logs: string[] = [];
  readonly #steps: Step[] = [];
  answer: Answer | undefined;
  agent: AgentService | undefined;
  learns: { readonly vlan: number; readonly mac: string } | undefined;
  activates = false;

  constructor(model: ModelView, frame: Frame) {
    this.model = model;
    this.frame = frame;
  }

  step(host: string, about: ObjectRef, text: string): void {
    this.#steps.push({ host, about, text });
  }

  drop(reason: DropReason, host: string, by: ObjectRef, to?: string): void {
    this.#drops.push({ reason, host, by, ...(to === undefined ? {} : { to }) });
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
      ...(this.learns === undefined ? {} : { learns: this.learns }),
      activates: this.activates,
      logs: this.#logs,
      steps: this.#steps,
    };
  }
}
