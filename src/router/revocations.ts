import { ClaraError } from "../errors.js";
import type { AdapterRegistry } from "./adapter-registry.js";

/** How long an answer of the registry counts, so that a withdrawal by another process is noticed in time; milliseconds. */
const MAX_AGE_MS = 5_000;

interface Answer {
  askedAt: number;
  /** Null: it may serve, or is not registered. */
  reason: Promise<string | null>;
}

/** Why adapters can never serve again, remembered for a while: who asks with every request must not ask the database with every one. */
export class Revocations {
  readonly #registry: AdapterRegistry;
  /** In the order in which they were asked. */
  readonly #answers = new Map<string, Answer>();

  constructor(registry: AdapterRegistry) {
    this.#registry = registry;
  }

  async of(id: string): Promise<string | null> {
    const now = performance.now();
    for (const [other, { askedAt }] of this.#answers) {
      if (now - askedAt < MAX_AGE_MS) break;
      this.#answers.delete(other);
    }
    const known = this.#answers.get(id);
    if (known !== undefined) return known.reason;
    const answer = { askedAt: now, reason: this.#ask(id) };
    this.#answers.set(id, answer);
    try {
      return await answer.reason;
    } catch (error) {
      if (this.#answers.get(id) === answer) this.#answers.delete(id);
      throw error;
    }
  }

  /** What was remembered may be wrong now. */
  forget(): void {
    this.#answers.clear();
  }

  async #ask(id: string): Promise<string | null> {
    try {
      return (await this.#registry.get(id)).revokedReason ?? null;
    } catch (error) {
      if (ClaraError.isInstance(error) && error.code === "adapter_not_found") return null;
      throw error;
    }
  }
}
