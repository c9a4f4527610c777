import { plainDomain, tenantPart } from "../support/tenancy.js";
import { withTimeout } from "../support/with-timeout.js";
import type { Adapter } from "../types/adapter.js";
import type { Embedder, Logger } from "../types/common.js";
import type { RouterSettings, RoutingDecision, RoutingStrategy } from "../types/routing.js";
import type { RouteOptions } from "./adapter-router-options.js";
import { armOf } from "./canary-arm.js";
import { DomainRules } from "./domain-rules.js";
import type { DecisionEvidence } from "./explain-decision.js";
import type { Exploration } from "./exploration.js";
import type { LiveAdapters } from "./live-adapters.js";
import type { RankedAdapter } from "./routing-table.js";
import { throwIfAborted } from "./throw-if-aborted.js";

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
    const tenant = options.tenant === undefined ? null : tenantPart(options.tenant);
    if (tenant !== null) await this.#parts.live.readyFor(tenant, evidence.settings);
    const choice =
      this.#byDomain(text, options.domain, tenant, evidence) ??
      (await this.#byEmbedding(text, options, tenant, evidence)) ??
      this.#byDefault(0, tenant);
    return this.#withCanary(choice, options.subjectId, tenant);
  }

  /** Settings objects are replaced, never changed. */
  #rulesOf({ rules }: RouterSettings): DomainRules {
    if (this.#rules?.of !== rules) this.#rules = { of: rules, rules: new DomainRules(rules) };
    return this.#rules.rules;
  }

  #byDomain(text: string, hint: string | undefined, tenant: string | null, evidence: DecisionEvidence): Choice | null {
    if (hint !== undefined) {
      const adapter = this.#parts.live.contenderFor(hint, tenant);
      return adapter === null ? { ...this.#byDefault(0, tenant), domain: hint } : servedBy(adapter);
    }
    evidence.rules = this.#rulesOf(evidence.settings).match(text);
    for (const { domain, weight } of evidence.rules) {
      if (weight < evidence.settings.thresholds.hardDomain) break;
      const adapter = this.#parts.live.contenderFor(domain, tenant);
      if (adapter !== null) return servedBy(adapter);
    }
    return null;
  }

  async #byEmbedding(text: string, { signal }: RouteOptions, tenant: string | null, evidence: DecisionEvidence): Promise<Choice | null> {
    evidence.embedding = this.#whyNotEmbedded(text, tenant, evidence.settings) ?? "failed";
    if (evidence.embedding !== "failed") return null;
    const vector = await this.#embed(text, signal);
    if (vector === null) return null;
    const { ranked, evidence: ranking } = this.#parts.live.rank(text, vector, tenant);
    evidence.embedding = "ranked";
    evidence.ranking = ranking;
    const best = ranked[0];
    if (best === undefined) return null;
    return this.#judge(best, candidatesOf(ranked), tenant, evidence);
  }

  #whyNotEmbedded(text: string, tenant: string | null, settings: RouterSettings): DecisionEvidence["embedding"] | null {
    if (!settings.enableEmbeddings) return "off";
    if (text.trim() === "") return "no text";
    return this.#parts.live.hasTable(tenant) ? null : "no examples";
  }

  /** Turns the best adapter's probability into a choice by the thresholds. */
  #judge(best: RankedAdapter, candidates: RoutingDecision["candidates"], tenant: string | null, evidence: DecisionEvidence): Choice {
    const fallback = this.#byDefault(Math.min(1, Math.max(0, best.probability)), tenant, candidates);
    const { thresholds, enableExploration, uncertain } = evidence.settings;
    const confidence = Math.min(1, Math.max(0, best.probability));
    const candidate = { adapterId: best.adapterId, confidence, candidates, domain: this.#parts.live.domainOf(best.adapterId) };
    if (confidence >= thresholds.confHigh) return { ...candidate, strategy: "embedding" };
    if (confidence < thresholds.confLow) return fallback;
    const isDefault = best.adapterId === fallback.adapterId;
    if (!enableExploration || isDefault) {
      return isDefault || uncertain === "candidate" ? { ...candidate, strategy: "embedding" } : fallback;
    }
    evidence.exploration = this.#parts.exploration.weigh(best.adapterId, fallback.adapterId, confidence);
    const propensity = evidence.exploration.candidatePropensity;
    if (this.#parts.random() < propensity) return { ...candidate, strategy: "explore", propensity };
    return { ...fallback, propensity: 1 - propensity };
  }

  /** Where the domain has a canary, it answers its share of the people in the incumbent's place. */
  #withCanary(choice: Choice, subjectId: string | undefined, tenant: string | null): Choice {
    const canary = choice.domain === undefined ? undefined : this.#parts.live.canary(choice.domain);
    if (canary === undefined || choice.adapterId !== (canary.incumbentId ?? canary.adapterId)) return choice;
    const arm = armOf(canary, subjectId, this.#parts.random);
    // without an incumbent of its own a tenant has had the domain's adapter that is nobody's
    const before = canary.incumbentId ?? this.#parts.live.active(plainDomain(canary.domain))?.id ?? this.#parts.live.defaultFor(tenant);
    const adapterId = arm === "canary" ? canary.adapterId : before;
    return { ...choice, adapterId, canary: { id: canary.id, arm } };
  }

  #byDefault(confidence: number, tenant: string | null, candidates: RoutingDecision["candidates"] = []): Choice {
    return { adapterId: this.#parts.live.defaultFor(tenant), strategy: "default", confidence, candidates };
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

function servedBy({ id, domain }: Adapter): Choice {
  return { adapterId: id, strategy: "domain", confidence: 1, domain, candidates: [{ adapterId: id, score: 1 }] };
}

function candidatesOf(ranked: readonly RankedAdapter[]): RoutingDecision["candidates"] {
  return ranked.slice(0, MAX_CANDIDATES).map(({ adapterId, probability }) => ({ adapterId, score: probability }));
}
