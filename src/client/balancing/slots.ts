import type { CallScope } from "../http/call-scope.js";

/** So many calls at once; more wait in the order in which they came. */
export class Slots {
  readonly #size: number;
  readonly #waiting = new Set<() => void>();
  #taken = 0;

  constructor(size: number) {
    this.#size = size;
  }

  /** Calls that have a slot. */
  get taken(): number {
    return this.#taken;
  }

  /** Calls that wait for one. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Waits for a slot; call the function that it gives to free it. An abort frees it at once, also where the call has not ended by it yet. */
  async take(scope: CallScope): Promise<() => void> {
    scope.throwIfOver();
    if (this.#taken < this.#size) this.#taken += 1;
    else await this.#turn(scope);
    let isFree = false;
    const free = () => {
      if (isFree) return;
      isFree = true;
      scope.signal.removeEventListener("abort", free);
      this.#passOn();
    };
    scope.signal.addEventListener("abort", free);
    // it may have ended after its turn had come
    if (scope.reason !== null) free();
    scope.throwIfOver();
    return free;
  }

  #turn(scope: CallScope): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.delete(start);
        reject(scope.reason);
      };
      const start = () => {
        scope.signal.removeEventListener("abort", onAbort);
        resolve();
      };
      this.#waiting.add(start);
      scope.signal.addEventListener("abort", onAbort);
    });
  }

  /** A freed slot is that of whoever waits longest at once, so that nobody takes it before they go on. */
  #passOn(): void {
    const [start] = this.#waiting;
    if (start === undefined) {
      this.#taken -= 1;
      return;
    }
    this.#waiting.delete(start);
    start();
  }
}
