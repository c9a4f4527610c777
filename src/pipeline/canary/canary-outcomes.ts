import { sql } from "kysely";
import type { Executor } from "../../store/store.js";
import { hashOf } from "../../support/hash-of.js";
import type { CanaryArm } from "../../types/canary.js";
import type { RecordedGeneration } from "../../types/generation.js";
import type { RoutingDecision } from "../../types/routing.js";

/** Something that happened to one arm of a canary; the same kind and unit count once. */
export interface CanaryOutcome {
  canaryId: string;
  arm: CanaryArm;
  kind: "call" | "rating";
  unit: string;
  /** A rating's reward, 0..1; of a call its milliseconds, null where it failed. */
  value: number | null;
}

/** What a served or failed call says of its arm; null where no canary ran, or the caller gave up. */
export function callOutcomeOf({ id, routing, finishReason, latencyMs }: RecordedGeneration): CanaryOutcome | null {
  if (routing?.canary === undefined || finishReason === "aborted") return null;
  const value = finishReason === "error" ? null : latencyMs;
  return { canaryId: routing.canary.id, arm: routing.canary.arm, kind: "call", unit: id, value };
}

/**
 * What a rating says of the arm that answered. People are what was divided into arms, so each counts once, by the first rating; that is
 * also all that one of them can do to an adapter. A corrected answer was wrong, whatever its stars.
 */
export function ratingOutcomeOf(
  canary: NonNullable<RoutingDecision["canary"]>,
  feedback: { rating: number; correction?: string | null; subjectId?: string | null; generationId: string },
): CanaryOutcome {
  const value = feedback.correction == null ? (feedback.rating + 1) / 2 : 0;
  const unit = feedback.subjectId == null ? feedback.generationId : ratingUnit(canary.id, feedback.subjectId);
  return { canaryId: canary.id, arm: canary.arm, kind: "rating", unit, value };
}

/** Under which a person's rating counts once, without the person's name. */
export function ratingUnit(canaryId: string, subjectId: string): string {
  return hashOf(canaryId, subjectId);
}

/** Adds outcomes to their canaries' sequences; what comes after a canary's end is left out. */
export async function addCanaryOutcomes(transaction: Executor, outcomes: readonly CanaryOutcome[]): Promise<void> {
  const ids = [...new Set(outcomes.map(({ canaryId }) => canaryId))].sort();
  for (const id of ids) {
    const own = outcomes.filter(({ canaryId }) => canaryId === id);
    // the row is locked until the commit, so that numbers become visible in their order
    const row = await transaction
      .updateTable("canaries")
      .set({ outcomes: sql<string>`outcomes + ${own.length}` })
      .where("id", "=", id)
      .where("ended_at", "is", null)
      .returning("outcomes")
      .executeTakeFirst();
    if (row === undefined) continue;
    const first = Number(row.outcomes) - own.length + 1;
    await transaction
      .insertInto("canary_outcomes")
      .values(own.map(({ arm, kind, unit, value }, index) => ({ canary_id: id, number: String(first + index), arm, kind, unit, value })))
      .onConflict((conflict) => conflict.columns(["canary_id", "kind", "unit"]).doNothing())
      .execute();
  }
}
