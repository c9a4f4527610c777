import { hashOf } from "../support/hash-of.js";
import { tenantPartOf } from "../support/tenancy.js";
import type { FeedbackStatus, FirewallFinding, QualityReport, SampleObjective } from "../types/feedback.js";
import { normaliseText } from "./storable-text.js";

/** What a feedback teaches. */
export interface Lesson {
  objective: SampleObjective;
  /** The answer to imitate, or the rated one. */
  answer: string;
  /** The rated answer that the correction replaces. */
  rejectedAnswer: string | null;
}

/**
 * A correction is imitated, and the rated answer kept as the rejected one; a liked answer is imitated; anything else without a
 * right answer is only a preference: what got a thumb down is never imitated.
 */
export function lessonOf(feedback: { response: string; correction?: string | undefined; rating: number }): Lesson {
  const { response, correction, rating } = feedback;
  if (correction !== undefined && correction.trim() !== "") {
    const isSame = normaliseText(correction) === normaliseText(response);
    return { objective: "imitate", answer: correction, rejectedAnswer: isSame ? null : response };
  }
  return { objective: rating > 0 ? "imitate" : "preference", answer: response, rejectedAnswer: null };
}

/** Two feedbacks with the same hash teach the same; what a tenant teaches repeats nobody else's. */
export function contentHash(objective: SampleObjective, prompt: string, answer: string, domain: string): string {
  const tenant = tenantPartOf(domain);
  return hashOf(objective, normaliseText(prompt), normaliseText(answer), ...(tenant === null ? [] : [tenant]));
}

/** What quality and firewall come to together: the worst of them counts, and what is rejected is not also reviewed. */
export function judge(
  quality: QualityReport,
  findings: readonly FirewallFinding[],
  reviewFrom: number,
): { status: Exclude<FeedbackStatus, "duplicate">; code: string | null; reason: string | null } {
  const byQuality = verdictOf(quality, reviewFrom);
  for (const [action, status] of [
    ["reject", "rejected"],
    ["review", "review"],
  ] as const) {
    const worst = findings.find((finding) => finding.action === action);
    if (worst !== undefined) return { status, code: worst.code, reason: worst.reason };
    if (byQuality.status === status) return { ...byQuality, code: "quality" };
  }
  return { ...byQuality, code: null };
}

/** Accepts, rejects, or sends to review what is doubtful: no check failed outright, and the score is near the minimum. */
export function verdictOf(
  quality: QualityReport,
  reviewFrom: number,
): { status: Exclude<FeedbackStatus, "duplicate">; reason: string | null } {
  if (quality.passed) return { status: "accepted", reason: null };
  const failed = quality.checks.filter((check) => !check.passed);
  const reason =
    failed.map((check) => check.reason ?? check.name).join("; ") || `quality score ${quality.score.toFixed(2)} is below the minimum`;
  const isDoubtful = quality.score >= reviewFrom && failed.every((check) => check.score >= reviewFrom);
  return { status: isDoubtful ? "review" : "rejected", reason };
}
