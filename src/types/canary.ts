import { z } from "zod";

/**
 * `running`: a share of the users gets the adapter. `promoted`: it serves its domain now. `kept`: nothing was shown within the time limit,
 * and the incumbent stays. `rolled_back`: it was worse. `superseded`: something else serves the domain now, or another canary runs.
 */
export const CanaryStatus = z.enum(["running", "promoted", "kept", "rolled_back", "superseded"]);
export type CanaryStatus = z.infer<typeof CanaryStatus>;

/** Who answered a request of a domain with a canary. */
export const CanaryArm = z.enum(["canary", "incumbent"]);
export type CanaryArm = z.infer<typeof CanaryArm>;

/** What is counted of one arm. */
export const ArmEvidence = z.object({
  /** Rated answers, at most one a user. */
  ratings: z.number().int(),
  /** Mean of the ratings, 0..1; a corrected answer counts 0. Null: none yet. */
  meanReward: z.number().nullable(),
  calls: z.number().int(),
  failedCalls: z.number().int(),
  /** Calls that took longer than `slowAboveMs`. */
  slowCalls: z.number().int(),
});
export type ArmEvidence = z.infer<typeof ArmEvidence>;

/** What a canary has shown so far. Each evidence starts at 1 and decides at its limit; see docs/decisions. */
export const CanaryEvidence = z.object({
  canary: ArmEvidence,
  incumbent: ArmEvidence,
  /** Evidence that the canary's answers are rated better. */
  better: z.number(),
  /** Evidence that they are rated worse. */
  worse: z.number(),
  /** Evidence that it fails more often. */
  failing: z.number(),
  /** Evidence that it is slower. */
  slower: z.number(),
});
export type CanaryEvidence = z.infer<typeof CanaryEvidence>;

/** A version on trial beside the one that serves its domain. */
export const Canary = z.object({
  id: z.string(),
  domain: z.string(),
  adapterId: z.string(),
  /** Who answers the others; null: the base model. */
  incumbentId: z.string().nullable(),
  /** Share of the users (or, without `subjectId`, of the requests) that gets the canary, 0..1. */
  share: z.number().gt(0).lt(1),
  /** Milliseconds from which a call counts as slow; null: too few calls of the incumbent were known. */
  slowAboveMs: z.number().nullable(),
  startedAt: z.iso.datetime(),
  /** When it ends without a decision; null: never. */
  endsBy: z.iso.datetime().nullable(),
  status: CanaryStatus,
  endedAt: z.iso.datetime().nullable(),
  /** Why it ended. */
  reason: z.string().nullable(),
  evidence: CanaryEvidence.nullable(),
});
export type Canary = z.infer<typeof Canary>;
