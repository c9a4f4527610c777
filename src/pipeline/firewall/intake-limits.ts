import { OverloadedError } from "../../errors.js";
import type { FirewallFinding, PairSketch } from "../../types/feedback.js";
import type { IntakeRecord } from "../feedback-rows.js";
import type { IntakeFacts } from "../intake-facts.js";
import type { DatasetsPort } from "../ports.js";
import { keyWithin } from "../tenants.js";
import type { FirewallOptions } from "./firewall-options.js";

const MINUTE_MS = 60_000;

/** What the limits work with. */
export interface IntakeLimitParts {
  pipeline: string;
  options: Pick<FirewallOptions, "maxAlike" | "alikeWindowMs" | "maxPerMinute">;
  areAlike: NonNullable<DatasetsPort["quality"]["areAlike"]> | undefined;
  clock: () => number;
}

/** What persons and clusters have given, as the transaction sees it; each decision is noted for those after it. */
export class IntakeLimits {
  readonly #parts: IntakeLimitParts;
  readonly #bySubject: Map<string, number>;
  readonly #byKey: Map<string, PairSketch[]>;

  constructor(parts: IntakeLimitParts, { bySubject, sketches }: Pick<IntakeFacts, "bySubject" | "sketches">) {
    this.#parts = parts;
    this.#bySubject = bySubject;
    this.#byKey = sketches;
  }

  /** The refusal of a person who gives too much at once; null where there is none. */
  refuse({ feedback, isImport }: IntakeRecord): OverloadedError | null {
    if (isImport || feedback.subject_id == null) return null;
    const subject = keyWithin(feedback.domain, feedback.subject_id);
    const count = this.#bySubject.get(subject) ?? 0;
    const { maxPerMinute } = this.#parts.options;
    if (count >= maxPerMinute) {
      const message = `This person gave ${count} feedbacks within a minute; ${maxPerMinute} are taken (firewall.maxPerMinute). Nothing of this one was kept; send it again in a minute.`;
      return new OverloadedError("rate_limited", message, MINUTE_MS, { details: { maxPerMinute } });
    }
    this.#bySubject.set(subject, count + 1);
    return null;
  }

  /** Whether enough that is alike was accepted already; what is accepted counts from now on. */
  cluster({ feedback }: IntakeRecord): FirewallFinding | null {
    const { areAlike, options } = this.#parts;
    if (areAlike === undefined || feedback.status !== "accepted" || feedback.sketch_key == null) return null;
    const own = JSON.parse(feedback.sketch as string) as PairSketch;
    const others = this.#byKey.get(own.key) ?? [];
    this.#byKey.set(own.key, others);
    const alike = others.filter((other) => areAlike(own, other)).length;
    if (alike >= options.maxAlike) {
      const days = Math.round(options.alikeWindowMs / (24 * 60 * MINUTE_MS));
      return { code: "cluster", action: "review", reason: `${alike} that say nearly the same were accepted in the last ${days} days` };
    }
    others.push(own);
    return null;
  }
}
