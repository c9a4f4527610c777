import { ClaraError } from "../../errors.js";
import type { Store } from "../../store/store.js";
import type { Canary } from "../../types/canary.js";
import type { RouterPort } from "../ports.js";
import { storableJson } from "../storable-text.js";
import type { CanaryOptions } from "./canary-options.js";
import { CanaryTrial, type TrialVerdict } from "./canary-trial.js";

const BATCH = 1_000;

interface OpenTrial {
  trial: CanaryTrial;
  /** Number of the last outcome that was observed. */
  seen: number;
}

/**
 * Looks at running canaries and ends those that are decided, or whose time is over. Any process may look, at any time: all come to the
 * same verdict from the same sequence of outcomes, and one of them writes it.
 */
export class CanaryJudge {
  readonly #parts: { store: Store; router: RouterPort; options: CanaryOptions; clock: () => number };
  readonly #trials = new Map<string, OpenTrial>();

  constructor(parts: { store: Store; router: RouterPort; options: CanaryOptions; clock: () => number }) {
    this.#parts = parts;
  }

  /** Gives the canaries that this call ended. */
  async look(): Promise<Canary[]> {
    const running = await this.#parts.router.listCanaries({ status: "running" });
    for (const id of this.#trials.keys()) if (!running.some((canary) => canary.id === id)) this.#trials.delete(id);
    const ended: Canary[] = [];
    for (const canary of running) {
      const end = await this.#judge(canary);
      if (end !== null) ended.push(end);
    }
    return ended;
  }

  async #judge(canary: Canary): Promise<Canary | null> {
    const open = this.#trials.get(canary.id) ?? { trial: new CanaryTrial(this.#parts.options, canary.slowAboveMs), seen: 0 };
    this.#trials.set(canary.id, open);
    const verdict = await this.#observeNew(canary.id, open);
    if (verdict !== null) return this.#end(canary.id, { ...verdict, evidence: open.trial.evidence() });
    if (canary.endsBy === null || this.#parts.clock() < Date.parse(canary.endsBy)) return null;
    return this.#end(canary.id, { status: "kept", reason: open.trial.undecided(), evidence: open.trial.evidence() });
  }

  /** Observes what came since the last look, up to the first outcome that decides. */
  async #observeNew(id: string, open: OpenTrial): Promise<TrialVerdict | null> {
    const { store } = this.#parts;
    let isNews = false;
    for (;;) {
      const outcomes = await store.db
        .selectFrom("canary_outcomes")
        .select(["number", "arm", "kind", "value"])
        .where("canary_id", "=", id)
        .where("number", ">", String(open.seen))
        .orderBy("number")
        .limit(BATCH)
        .execute();
      for (const { number, arm, kind, value } of outcomes) {
        open.trial.observe({ arm, kind, value });
        open.seen = Number(number);
        const verdict = open.trial.verdict();
        if (verdict !== null) return verdict;
      }
      isNews ||= outcomes.length > 0;
      if (outcomes.length < BATCH) break;
    }
    if (isNews) {
      const evidence = storableJson(open.trial.evidence());
      await store.db.updateTable("canaries").set({ evidence }).where("id", "=", id).where("ended_at", "is", null).execute();
    }
    return null;
  }

  async #end(id: string, end: Parameters<RouterPort["endCanary"]>[1]): Promise<Canary | null> {
    try {
      return await this.#parts.router.endCanary(id, end);
    } catch (error) {
      // another process, or a person, was first
      if (ClaraError.isInstance(error) && error.code === "adapter_state_conflict") return null;
      throw error;
    }
  }
}
