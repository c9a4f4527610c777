/** First rest of an endpoint that failed, milliseconds; doubled with each failure in a row. */
const FIRST_REST_MS = 500;
const LONGEST_REST_MS = 30_000;

/**
 * A circuit breaker: closed while calls succeed, open for a while after a failure, and then half-open: one call at a time may try. Where
 * every circuit is open calls go through all the same, since an answer is worth more than a rest.
 */
export class Circuit {
  #failuresInARow = 0;
  #restsUntil = 0;
  #isTrying = false;

  get state(): "closed" | "open" | "half-open" {
    if (this.#restsUntil > performance.now()) return "open";
    return this.#failuresInARow === 0 ? "closed" : "half-open";
  }

  /** True where a call is expected to succeed, or may find out. */
  get letsThrough(): boolean {
    const { state } = this;
    return state === "closed" || (state === "half-open" && !this.#isTrying);
  }

  /** A call goes there now. */
  began(): void {
    if (this.state === "half-open") this.#isTrying = true;
  }

  succeeded(): void {
    this.#failuresInARow = 0;
    this.#restsUntil = 0;
    this.#isTrying = false;
  }

  failed(): void {
    this.#failuresInARow += 1;
    this.rest(Math.min(LONGEST_REST_MS, FIRST_REST_MS * 2 ** (this.#failuresInARow - 1)));
  }

  /** The endpoint asked to be spared for so long. */
  rest(durationMs: number): void {
    this.#restsUntil = performance.now() + durationMs;
    this.#isTrying = false;
  }

  /** A call that says nothing about the endpoint's health (the caller left, the request was wrong) has ended. */
  abandoned(): void {
    this.#isTrying = false;
  }
}
