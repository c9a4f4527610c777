import { ConfigurationError } from "../../errors.js";
import { requireKnown, requireOneOf } from "../../support/known-options.js";
import { PERSONAL_DATA_DEFAULTS, type PersonalDataOptions } from "../../support/personal-data.js";

const DAY_MS = 24 * 3_600_000;

/** A question whose right answers are known and trusted. */
export interface GoldPair {
  prompt: string;
  /** Texts of which the answer must hold one, whatever its case: `["12 euros", "12 €"]`. */
  answers: readonly string[];
}

/** What stands between feedback and training. */
export interface FirewallOptions {
  /**
   * Personal data in the texts: `redact` (default) puts placeholders like `[EMAIL]` in its place before anything is stored; `review`,
   * `reject`, `keep`.
   */
  personalData: Partial<PersonalDataOptions> & { action?: "redact" | "review" | "reject" | "keep" };
  /** Texts that speak to a model or a judge. Default `review`. */
  injection: "review" | "reject" | "accept";
  /** Trusted answers; feedback that contradicts them goes to review. Default: none. */
  gold: readonly GoldPair[];
  /** Questions that versions are tested on beside the general set's; feedback on them is never learnt. Default: none. */
  heldOut: readonly string[];
  /** Feedback that says nearly the same in nearly the same words, accepted within `alikeWindowMs`; more goes to review. Default 5. */
  maxAlike: number;
  /** Milliseconds. Default 7 days. */
  alikeWindowMs: number;
  /**
   * Where an embedder is given: largest share (0..1) of a batch whose questions and answers mean nearly the same; `maxAlike` may always be
   * in it, more goes to review with the event `feedback.held`. Default .2; 1: no cap.
   */
  maxClusterShare: number;
  /** Cosine (0..1) of two vectors from which they mean nearly the same. Embedders differ: compare a few rewordings of yours. Default .9. */
  clusterSimilarity: number;
  /**
   * Cosine (0..1) of two vectors from which questions that share some words ask the same, so that what is said of both is compared. Embedders
   * differ: compare a few rewordings of yours. Default .8.
   */
  questionSimilarity: number;
  /**
   * Feedback that other people contradict, weighed by how often each of them was right: what loses or cannot be decided goes to review before it is
   * learnt, with the event `feedback.held`. Default `review`; `accept`: people are not compared.
   */
  disputes: "review" | "accept";
  /** Share (above .5, up to 1) of the weight of all who have said something with which a dispute is won. Default .7. */
  disputeMajority: number;
  /** Milliseconds for which what somebody said counts in a dispute, so that a fact may change. Default 30 days. */
  disputeWindowMs: number;
  /** Milliseconds for which trusted answers and reviewers' decisions count for or against a person. Default 180 days. */
  reputationWindowMs: number;
  /** Feedback of one person within a minute; more is refused with `rate_limited`. Imports are exempt. Default 300. */
  maxPerMinute: number;
  /**
   * Signed receipts: the same secret at the `ServingClient` (`receiptSecret`). Feedback that names a generation is only taken with the
   * receipt that its answer came with. Default: none; a generation of another `subjectId` is refused all the same.
   */
  receiptSecret?: string;
}

/** The firewall's defaults. */
export const FIREWALL_DEFAULTS = Object.freeze({
  personalData: {},
  injection: "review",
  gold: [],
  heldOut: [],
  maxAlike: 5,
  alikeWindowMs: 7 * DAY_MS,
  maxClusterShare: 0.2,
  clusterSimilarity: 0.9,
  questionSimilarity: 0.8,
  disputes: "review",
  disputeMajority: 0.7,
  disputeWindowMs: 30 * DAY_MS,
  reputationWindowMs: 180 * DAY_MS,
  maxPerMinute: 300,
}) satisfies FirewallOptions;

/** Refuses what cannot work. */
export function checkFirewallOptions(options: FirewallOptions): FirewallOptions {
  requireKnown("pipeline.firewall", options, { ...FIREWALL_DEFAULTS, receiptSecret: true });
  requireKnown("pipeline.firewall.personalData", options.personalData, { ...PERSONAL_DATA_DEFAULTS, action: true });
  // A word that is none of these would let everything through.
  requireOneOf("pipeline.firewall.personalData.action", options.personalData.action ?? "redact", ["redact", "review", "reject", "keep"]);
  requireOneOf("pipeline.firewall.injection", options.injection, ["review", "reject", "accept"]);
  requireOneOf("pipeline.firewall.disputes", options.disputes, ["review", "accept"]);
  for (const kind of options.personalData.kinds ?? []) {
    requireOneOf("One of pipeline.firewall.personalData.kinds", kind, PERSONAL_DATA_DEFAULTS.kinds);
  }
  for (const name of ["maxAlike", "alikeWindowMs", "disputeWindowMs", "reputationWindowMs", "maxPerMinute"] as const) {
    if (options[name] >= 1) continue;
    throw new ConfigurationError("config_invalid", `pipeline.firewall.${name} is ${options[name]}; it must be at least 1.`);
  }
  for (const name of ["maxClusterShare", "clusterSimilarity", "questionSimilarity"] as const) {
    if (options[name] > 0 && options[name] <= 1) continue;
    throw new ConfigurationError("config_invalid", `pipeline.firewall.${name} is ${options[name]}; give a number above 0 and up to 1.`);
  }
  const { disputeMajority, receiptSecret } = options;
  if (!(disputeMajority > 0.5 && disputeMajority <= 1)) {
    const message = `pipeline.firewall.disputeMajority is ${disputeMajority}; give a number above .5 and up to 1.`;
    throw new ConfigurationError("config_invalid", message);
  }
  if (receiptSecret !== undefined && receiptSecret.length < 16) {
    throw new ConfigurationError("config_invalid", "pipeline.firewall.receiptSecret must have at least 16 characters.");
  }
  return options;
}
