import { z } from "zod";
import { CanaryArm } from "./canary.js";
import { Slug } from "./common.js";

export const RoutingStrategy = z.enum(["pinned", "domain", "embedding", "explore", "default"]);
export type RoutingStrategy = z.infer<typeof RoutingStrategy>;

export const RoutingDecision = z.object({
  id: z.string(),
  /** Null: the base model answers. */
  adapterId: z.string().nullable(),
  confidence: z.number().min(0).max(1),
  strategy: RoutingStrategy,
  domain: z.string().optional(),
  /** Where a canary of the domain runs: which of the two answers this user; no part of `propensity`. */
  canary: z.object({ id: z.string(), arm: CanaryArm }).optional(),
  /** Best first. */
  candidates: z.array(z.object({ adapterId: z.string(), score: z.number() })),
  /** Probability with which the policy chose what it chose, 0..1; 1 where nothing was left to chance. */
  propensity: z.number().min(0).max(1).default(1),
});
export type RoutingDecision = z.infer<typeof RoutingDecision>;

/** A rule: a text that holds these words or patterns belongs to the domain. */
export const DomainRule = z.object({
  domain: Slug,
  /** Words or phrases, whatever their case and ending; `photovolt*` also as the beginning of a word. Each that is found adds `weight`. */
  keywords: z.array(z.string().min(1)).default([]),
  /** Added per keyword match; default 1. A text whose sum reaches `thresholds.hardDomain` is routed by rule. */
  weight: z.number().positive().default(1),
});
export type DomainRule = z.input<typeof DomainRule>;

/** What `configure` takes; absent fields stay as they are. */
export const RouterSettings = z.object({
  /** Adapter id that answers when nothing else fits; null = the base model. */
  defaultAdapter: z.string().nullable(),
  enableEmbeddings: z.boolean(),
  enableExploration: z.boolean(),
  rules: z.array(DomainRule),
  thresholds: z.object({
    /** Sum of rule weights from which a rule decides. Default 1.5. */
    hardDomain: z.number().positive(),
    /** Below it the default answers. Default .55. */
    confLow: z.number().min(0).max(1),
    /** From it on the candidate answers always; between the two thresholds `uncertain` and exploration decide. Default .85. */
    confHigh: z.number().min(0).max(1),
  }),
  /**
   * Who answers between the thresholds while exploration is off: the candidate, which is more likely right than not there, or the
   * default. With exploration on the candidate is tried by chance. Default "candidate".
   */
  uncertain: z.enum(["candidate", "default"]),
});
export type RouterSettings = z.infer<typeof RouterSettings>;
