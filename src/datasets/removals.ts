import type { PreparationReport } from "../types/index.js";

/** What a preparation took out: counted by reason, the first ones with their ids. */
export class Removals {
  readonly #most: number;
  readonly #first: PreparationReport["removed"] = [];
  readonly #reasons = new Map<string, number>();

  /** `most`: how many are kept with their ids. */
  constructor(most: number) {
    this.#most = most;
  }

  add(sampleId: string, reason: string): void {
    const name = reason.split(":", 1)[0]!;
    this.#reasons.set(name, (this.#reasons.get(name) ?? 0) + 1);
    if (this.#first.length < this.#most) this.#first.push({ sampleId, reason });
  }

  /** The first ones, in the order in which they were taken out. */
  get first(): PreparationReport["removed"] {
    return this.#first;
  }

  /** How many by the first word of their reason. */
  get reasons(): Record<string, number> {
    return Object.fromEntries(this.#reasons);
  }
}
