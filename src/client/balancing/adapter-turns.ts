interface Turn {
  calls: number;
  since: number;
  /** Takes no more calls: others wait for its place. */
  isEnding: boolean;
}

interface Waiter {
  admit(): void;
}

/** Who waits for a turn, and why that may end before it comes: a call, or one attempt of it. */
interface Caller {
  signal: AbortSignal;
  reason: Error | null;
}

/** How long an adapter keeps its place while others wait for one, milliseconds. */
const TURN_MS = 250;

/**
 * Guards an engine's working set: no more adapters at once than it has slots. A call for one more waits until a place is free, together
 * with all others for the same adapter, in place of making the engine swap adapters with every call; and an adapter that others wait for
 * gives its place up after a while.
 */
export class AdapterTurns {
  /** Adapters at once. */
  slots = Number.POSITIVE_INFINITY;
  readonly #turns = new Map<string, Turn>();
  /** In the order in which adapters began to wait. */
  readonly #waiting = new Map<string, Set<Waiter>>();
  #timer: NodeJS.Timeout | null = null;

  /** Calls that wait for their adapter's turn. */
  get waiting(): number {
    let count = 0;
    for (const waiters of this.#waiting.values()) count += waiters.size;
    return count;
  }

  /** Adapters that answer calls now. */
  get running(): string[] {
    return [...this.#turns.keys()];
  }

  callsOf(adapterId: string): number {
    return this.#turns.get(adapterId)?.calls ?? 0;
  }

  /** Waits for the adapter's turn; call the function that it gives when the call has ended. Rejects with the caller's reason. */
  async enter(adapterId: string, caller: Caller): Promise<() => void> {
    if (!this.#mayEnter(adapterId)) await this.#wait(adapterId, caller);
    const turn = this.#turns.get(adapterId) ?? { calls: 0, since: performance.now(), isEnding: false };
    this.#turns.set(adapterId, turn);
    turn.calls += 1;
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      turn.calls -= 1;
      if (turn.calls > 0) return;
      this.#turns.delete(adapterId);
      this.#admitNext();
    };
  }

  #mayEnter(adapterId: string): boolean {
    const turn = this.#turns.get(adapterId);
    if (turn !== undefined) return !turn.isEnding;
    return this.#turns.size < this.slots && this.#waiting.size === 0;
  }

  async #wait(adapterId: string, caller: Caller): Promise<void> {
    const waiters = this.#waiting.get(adapterId) ?? new Set<Waiter>();
    this.#waiting.set(adapterId, waiters);
    this.#endOldestInTime();
    await new Promise<void>((resolve, reject) => {
      const onAbort = () => {
        waiters.delete(waiter);
        if (waiters.size === 0 && this.#waiting.get(adapterId) === waiters) this.#waiting.delete(adapterId);
        reject(caller.reason);
      };
      const waiter: Waiter = {
        admit: () => {
          caller.signal.removeEventListener("abort", onAbort);
          resolve();
        },
      };
      waiters.add(waiter);
      caller.signal.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** Gives free places to those who wait longest; their turn begins at once, so that nobody takes the place before they go on. */
  #admitNext(): void {
    while (this.#turns.size < this.slots) {
      const next = this.#waiting.entries().next().value;
      if (next === undefined) break;
      const [adapterId, waiters] = next;
      this.#waiting.delete(adapterId);
      this.#turns.set(adapterId, { calls: 0, since: performance.now(), isEnding: false });
      for (const waiter of waiters) waiter.admit();
    }
    this.#endOldestInTime();
  }

  /** As many turns end as adapters wait, the oldest first, each after its time. */
  #endOldestInTime(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const ending = [...this.#turns.values()].filter((turn) => turn.isEnding).length;
    const wanted = this.#waiting.size - ending;
    if (wanted <= 0) return;
    const now = performance.now();
    const oldest = [...this.#turns.values()].filter((turn) => !turn.isEnding).sort((left, right) => left.since - right.since);
    for (const turn of oldest.slice(0, wanted)) {
      const restMs = turn.since + TURN_MS - now;
      if (restMs <= 0) turn.isEnding = true;
      else {
        this.#timer = setTimeout(() => this.#endOldestInTime(), restMs);
        this.#timer.unref();
        return;
      }
    }
  }
}
