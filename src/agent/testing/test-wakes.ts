/** Time in a test of a part that asks to be woken: it passes from wake to wake. */
export class TestWakes {
  nowMs = 0;
  #wakes: number[] = [];

  /** `lateMs`: the machine is busy. */
  ask(inMs: number, lateMs = 0): void {
    this.#wakes.push(this.nowMs + inMs + lateMs);
  }

  run(untilMs: number, wake: (nowMs: number) => void): void {
    for (;;) {
      this.#wakes.sort((a, b) => a - b);
      const [due] = this.#wakes;
      if (due === undefined || due > untilMs) {
        this.nowMs = untilMs;
        return;
      }
      this.#wakes.shift();
      this.nowMs = due;
      wake(due);
    }
  }
}
