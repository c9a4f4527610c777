import type { Endpoint } from "./endpoint.js";
import type { EndpointPool } from "./endpoint-pool.js";

/** Looks at every endpoint that was reached once, now and then, so that an ill one is spared and a healed one is used again. */
export class HealthWatch {
  readonly #pool: EndpointPool;
  readonly #intervalMs: number;
  readonly #look: (endpoint: Endpoint) => Promise<void>;
  #timer: NodeJS.Timeout | null = null;
  #isStopped = false;

  /** `look` asks an endpoint how it is and notes it there; must not reject. */
  constructor(pool: EndpointPool, intervalMs: number, look: (endpoint: Endpoint) => Promise<void>) {
    this.#pool = pool;
    this.#intervalMs = intervalMs;
    this.#look = look;
  }

  /** Keeps no process alive. Started with the first call, so that a client that is only made does nothing. */
  start(): void {
    if (this.#timer !== null || this.#isStopped || this.#intervalMs === 0) return;
    this.#timer = setInterval(() => {
      for (const endpoint of this.#pool.all) if (endpoint.isKnown) void this.#look(endpoint);
    }, this.#intervalMs);
    this.#timer.unref();
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#timer !== null) clearInterval(this.#timer);
  }
}
