import type { Embedder, Logger } from "../types/common.js";
import type { RouterSettings, RoutingDecision, RoutingStrategy } from "../types/routing.js";
import type { RouteOptions } from "./adapter-router-options.js";
import { armOf } from "./canary-arm.js";
import { DomainRules } from "./domain-rules.js";
import type { DecisionEvidence } from "./explain-decision.js";
import type { Exploration } from "./exploration.js";
import type { LiveAdapters } from "./live-adapters.js";
import { evidenceBehind, type RankedAdapter } from "./routing-table.js";
import { throwIfAborted, withTimeout } from "./with-timeout.js";

const MAX_CANDIDATES = 5;

/** What was chosen, before it has an id. */
export interface Choice {
  adapterId: string | null;
  strategy: RoutingStrategy;
  confidence: number;
  domain?: string;
  canary?: RoutingDecision["canary"];
  candidates?: RoutingDecision["candidates"];
  propensity?: number;
}

/** What a choice is made from. */
export interface ChooserParts {
  live: LiveAdapters;
  exploration: Exploration;
  embedder: Embedder;
  embedTimeoutMs: number;
  random: () => number;
  logger: Logger | undefined;
}

/** The order of decision: the domain that is named or that a rule finds, likeness, exploration, the default; then the domain's canary. */
export class Chooser {
  /** Why the last embedding failed; null where it did not. */
  embedError: string | null = null;
  readonly #parts: ChooserParts;
  #rules: { of: RouterSettings["rules"]; rules: DomainRules } | null = null;

  constructor(parts: ChooserParts) {
    this.#parts = parts;
  }

  /** Chooses by the settings of the evidence, and notes in it what was computed on the way. */
  async choose(text: string, options: RouteOptions, evidence: DecisionEvidence): Promise<Choice> {
    const choice =
      this.#byDomain(text, options.domain, evidence) ?? (await this.#byEmbedding(text, options, evidence)) ?? this.#byDefault(0);
    return this.#withCanary(choice, options.subjectId);
  }

  /** Settings objects are replaced, never changed. */
  #rulesOf({ rules }: RouterSettings): DomainRules {
    if (this.#rules?.of !== rules) this.#rules = { of: rules, rules: new DomainRules(rules) };
    return this.#rules.rules;
  }

  #byDomain(text: string, hint: string | undefined, evidence: DecisionEvidence): Choice | null {
    if (hint !== undefined) {
      const adapter = this.#parts.live.contender(hint);
      if (adapter === null) return { ...this.#byDefault(0), domain: hint };
      return { adapterId: adapter.id, strategy: "domain", confidence: 1, domain: hint, candidates: [{ adapterId: adapter.id, score: 1 }] };
    }
    evidence.rules = this.#rulesOf(evidence.settings).match(text);
    for (const { domain, weight } of evidence.rules) {
      if (weight < evidence.settings.thresholds.hardDomain) break;
      const adapter = this.#parts.live.contender(domain);
      if (adapter === null) continue;
      return { adapterId: adapter.id, strategy: "domain", confidence: 1, domain, candidates: [{ adapterId: adapter.id, score: 1 }] };
    }
    return null;
  }

  async #byEmbedding(text: string, { signal }: RouteOptions, evidence: DecisionEvidence): Promise<Choice | null> {
    evidence.embedding = this.#whyNotEmbedded(text, evidence.settings) ?? "failed";
    if (evidence.embedding !== "failed") return null;
    const vector = await this.#embed(text, signal);
    if (vector === null) return null;
    const ranked = this.#parts.live.rank(text, vector);
    evidence.embedding = "ranked";
    evidence.ranking = evidenceBehind(vector);
    const best = ranked[0];
    if (best === undefined) return null;
    return this.#judge(best, candidatesOf(ranked), evidence);
  }

  #whyNotEmbedded(text: string, settings: RouterSettings): DecisionEvidence["embedding"] | null {
    if (!settings.enableEmbeddings) return "off";
    if (text.trim() === "") return "no text";
    return this.#parts.live.hasTable ? null : "no examples";
  }

  /** Turns the best adapter's probability into a choice by the thresholds. */
  #judge(best: RankedAdapter, candidates: RoutingDecision["candidates"], evidence: DecisionEvidence): Choice {
    const { thresholds, enableExploration, uncertain } = evidence.settings;
    const confidence = Math.min(1, Math.max(0, best.probability));
    const candidate = { adapterId: best.adapterId, confidence, candidates, domain: this.#parts.live.domainOf(best.adapterId) };
    if (confidence >= thresholds.confHigh) return { ...candidate, strategy: "embedding" };
    if (confidence < thresholds.confLow) return this.#byDefault(confidence, candidates);
    const isDefault = best.adapterId === this.#parts.live.defaultAdapterId;
    if (!enableExploration || isDefault) {
      return isDefault || uncertain === "candidate" ? { ...candidate, strategy: "embedding" } : this.#byDefault(confidence, candidates);
    }
    evidence.exploration = this.#parts.exploration.weigh(best.adapterId, this.#parts.live.defaultAdapterId, confidence);
    const propensity = evidence.exploration.candidatePropensity;
    if (this.#parts.random() < propensity) return { ...candidate, strategy: "explore", propensity };
    return { ...this.#byDefault(confidence, candidates), propensity: 1 - propensity };
  }

  /** Where the domain has a canary, it answers its share of the people in the incumbent's place. */
  #withCanary(choice: Choice, subjectId: string | undefined): Choice {
    const canary = choice.domain === undefined ? undefined : this.#parts.live.canary(choice.domain);
    if (canary === undefined || choice.adapterId !== (canary.incumbentId ?? canary.adapterId)) return choice;
    const arm = armOf(canary, subjectId, this.#parts.random);
    const adapterId = arm === "canary" ? canary.adapterId : (canary.incumbentId ?? this.#parts.live.defaultAdapterId);
    return { ...choice, adapterId, canary: { id: canary.id, arm } };
  }

  #byDefault(confidence: number, candidates: RoutingDecision["candidates"] = []): Choice {
    return { adapterId: this.#parts.live.defaultAdapterId, strategy: "default", confidence, candidates };
  }

  /** Null where the embedder fails: a chat must not fail because the router's comfort is away. */
  async #embed(text: string, signal?: AbortSignal): Promise<number[] | null> {
    try {
      const [vector] = await withTimeout(this.#parts.embedTimeoutMs, signal, (inner) =>
        this.#parts.embedder.embed([text], { signal: inner }),
      );
      this.embedError = null;
      return vector ?? null;
    } catch (error) {
      throwIfAborted(signal);
      this.embedError = error instanceof Error ? error.message : String(error);
      this.#parts.logger?.warn({ error, embedder: this.#parts.embedder.name }, "the router's embedder failed; the default answers");
      return null;
    }
  }
}

function candidatesOf(ranked: readonly RankedAdapter[]): RoutingDecision["candidates"] {
  return ranked.slice(0, MAX_CANDIDATES).map(({ adapterId, probability }) => ({ adapterId, score: probability }));
}
