import { z } from "zod";
import { Metadata, Slug } from "./common.js";

/** What an application reports about one answer. Either `generationId`, or `prompt` and `response`. */
export const FeedbackInput = z
  .object({
    /** The id of a `GenerationResult`; prompt, response and domain are then taken from its record. */
    generationId: z.string().min(1).max(128).optional(),
    prompt: z.string().optional(),
    response: z.string().optional(),
    /** −1 (thumb down) … 1 (thumb up). */
    rating: z.number().min(-1).max(1).default(0),
    /** The answer that would have been right. */
    correction: z.string().optional(),
    comment: z.string().max(1000).optional(),
    /** 1 (least) … 5; weighs the sample in training. Default 3. */
    importance: z.number().int().min(1).max(5).default(3),
    /** The `receipt` that the answer came with; needed where receipts are signed. */
    receipt: z.string().max(128).optional(),
    /** The person behind it, pseudonymous; limits per person and erasure go by it. */
    subjectId: z.string().min(1).max(256).optional(),
    domain: Slug.optional(),
    /** Where it came from, for example `chat`, `import`. */
    source: z.string().min(1).max(64).optional(),
    /** The same key never counts twice. */
    idempotencyKey: z.string().min(1).max(256).optional(),
    /**
     * The host's own; one field counts: `tenant`, whose feedback it is. It then trains adapters that answer this tenant only (option `tenants`
     * of the pipeline). Feedback on an answer has the answer's tenant; another one is refused.
     */
    metadata: Metadata.optional(),
  })
  .refine((value) => value.generationId !== undefined || (value.prompt !== undefined && value.response !== undefined), {
    message: "give generationId, or prompt and response",
  });
/** What `addFeedback` takes. */
export type FeedbackInput = z.input<typeof FeedbackInput>;

/** What of a feedback may be said anew; absent fields stay, an empty correction takes the old one back. */
export const FeedbackChange = z.strictObject({
  rating: z.number().min(-1).max(1).optional(),
  correction: z.string().optional(),
  comment: z.string().max(1000).optional(),
  importance: z.number().int().min(1).max(5).optional(),
});
export type FeedbackChange = z.infer<typeof FeedbackChange>;

/** One quality check: its score 0..1, whether it alone rejects, and why. */
export const QualityCheck = z.object({
  name: z.enum([
    "length",
    "encoding",
    "exact_duplicate",
    "near_duplicate",
    "profanity",
    "toxicity",
    "language",
    "personal_data",
    "domain_relevance",
    "repetition",
  ]),
  score: z.number().min(0).max(1),
  passed: z.boolean(),
  /**
   * Of a failed check, for programs: `too_long`, `too_short`, `empty`, `no_word`, `single_letter` (length), `encoding_invalid`, `repetitive`, `profane`, `toxic`,
   * `language_unexpected`, `personal_data`, `exact_duplicate`, `near_duplicate`.
   */
  code: z.string().optional(),
  reason: z.string().optional(),
});
export type QualityCheck = z.infer<typeof QualityCheck>;

export const QualityReport = z.object({
  /** 0..1; at least the minimum score (default .5) and no failed check, or it is rejected. */
  score: z.number().min(0).max(1),
  passed: z.boolean(),
  checks: z.array(QualityCheck),
});
export type QualityReport = z.infer<typeof QualityReport>;

export const FeedbackStatus = z.enum(["accepted", "rejected", "duplicate", "review"]);
export type FeedbackStatus = z.infer<typeof FeedbackStatus>;

/** What the firewall found; never the text itself. */
export const FirewallFinding = z.object({
  /** Stable. `personal_data` and `prompt_injection` are told by their form, `cluster` and `disputed` by what others gave. */
  code: z.enum([
    "personal_data",
    "prompt_injection",
    "contradicts_gold",
    "held_out",
    "not_own_generation",
    "receipt_invalid",
    "cluster",
    "disputed",
  ]),
  /** `redact`: the text was changed and goes on. */
  action: z.enum(["redact", "review", "reject"]),
  reason: z.string(),
});
export type FirewallFinding = z.infer<typeof FirewallFinding>;

/** The answer of `addFeedback`: durable when it resolves. */
export const FeedbackReceipt = z.object({
  id: z.string(),
  status: FeedbackStatus,
  quality: QualityReport,
  /** What decided where it was not accepted: a finding's code, or `quality`. */
  code: z.string().optional(),
  reason: z.string().optional(),
  findings: z.array(FirewallFinding).optional(),
});
export type FeedbackReceipt = z.infer<typeof FeedbackReceipt>;

/** The learning objective that a sample serves: a right answer to imitate, or a thumb without a right answer. */
export const SampleObjective = z.enum(["imitate", "preference"]);
export type SampleObjective = z.infer<typeof SampleObjective>;

/** One training sample made of one feedback. */
export const Sample = z.object({
  id: z.string(),
  /** Absent for samples that did not come from feedback. */
  feedbackId: z.string().optional(),
  prompt: z.string(),
  /** The answer to learn (`imitate`), or the rated one (`preference`). */
  response: z.string(),
  objective: SampleObjective,
  /** −1..1. */
  rating: z.number().min(-1).max(1),
  importance: z.number().int().min(1).max(5),
  domain: z.string(),
  subjectId: z.string().optional(),
  source: z.string(),
  qualityScore: z.number().min(0).max(1),
});
export type Sample = z.infer<typeof Sample>;

/** What is kept of a pair to find others that say the same, without their texts. */
export interface PairSketch {
  /** Numbers and negations of question and answer; pairs with another key say something else. */
  key: string;
  /** Hashes of the capitalised words of both. */
  names: number[];
  /** One hash a band of the MinHash signature of both. */
  bands: number[];
}
