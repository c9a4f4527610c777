import { hashOf } from "../support/hash-of.js";
import type { DatasetItem, DatasetStatistics, SplitName } from "../types/index.js";
import { HashNumbers } from "./hash-numbers.js";

/** Gathers the statistics of rows one by one. */
export class StatisticsCollector {
  readonly #splits: Record<SplitName, number> = { train: 0, recall: 0, generalisation: 0, preference: 0 };
  readonly #groups = new HashNumbers();
  readonly #subjects = new HashNumbers();
  #samples = 0;
  #tokens = 0;
  #characters = 0;
  #shortest = Number.POSITIVE_INFINITY;
  #longest = 0;

  /** `tokens`: of question and answer; only those of train rows count. */
  add(item: DatasetItem, tokens: number): void {
    this.#samples += 1;
    this.#splits[item.split] += 1;
    this.#groups.numberOf(hashOf(item.group));
    if (item.sample.subjectId !== undefined) this.#subjects.numberOf(hashOf(item.sample.subjectId));
    if (item.split === "train") this.#tokens += tokens;
    const length = item.sample.response.length;
    this.#characters += length;
    this.#shortest = Math.min(this.#shortest, length);
    this.#longest = Math.max(this.#longest, length);
  }

  /** The figures so far; zeros where nothing was added. */
  result(tokensAreEstimated: boolean): DatasetStatistics {
    const samples = this.#samples;
    return {
      samples,
      groups: this.#groups.size,
      subjects: this.#subjects.size,
      splits: { ...this.#splits },
      tokens: this.#tokens,
      tokensAreEstimated,
      responseLength: { min: samples ? this.#shortest : 0, mean: samples ? this.#characters / samples : 0, max: this.#longest },
    };
  }
}
