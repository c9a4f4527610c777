import type { TriggerOptions } from "./pipeline-options.js";

/** How many imitable samples wait, by person; the empty key holds those without a `subjectId`. */
export type WaitingBySubject = ReadonlyMap<string, number>;

/** What a batch may hold now. */
export interface BatchAllowance {
  waiting: number;
  /** Distinct people behind the waiting samples, by the `anonymous` rule. */
  distinctSubjects: number;
  /** False: more people must be heard before the batch is trusted. */
  isTrusted: boolean;
  /** Most samples of one person. */
  perSubject: number;
  /** Samples that a batch would take now. */
  eligible: number;
}

type Rules = Pick<TriggerOptions, "anonymous" | "maxSubjectShare" | "minDistinctSubjects">;

/** Applies the rules about people: several distinct ones, and no one with more than a share of the batch. */
export function allowBatch(bySubject: WaitingBySubject, rules: Rules, capacity: number): BatchAllowance {
  const anonymous = bySubject.get("") ?? 0;
  const named = [...bySubject].filter(([subject]) => subject !== "").map(([, count]) => count);
  const waiting = named.reduce((sum, count) => sum + count, anonymous);
  const hasNoIdentities = rules.anonymous === "exempt" && named.length === 0;
  const distinct = rules.anonymous === "distinct" ? named.length + anonymous : named.length + (anonymous > 0 ? 1 : 0);
  if (hasNoIdentities) {
    return { waiting, distinctSubjects: distinct, isTrusted: true, perSubject: capacity, eligible: Math.min(waiting, capacity) };
  }
  const capped = rules.anonymous === "distinct" ? named : anonymous > 0 ? [...named, anonymous] : named;
  const free = rules.anonymous === "distinct" ? anonymous : 0;
  // fewer people than the share allows for could never fill a batch: then each may give an equal part
  const share = Math.max(rules.maxSubjectShare, 1 / Math.max(1, distinct));
  const { cap, size } = fittingShares(capped, { share, capacity, free });
  return { waiting, distinctSubjects: distinct, isTrusted: distinct >= rules.minDistinctSubjects, perSubject: cap, eligible: size };
}

/**
 * The largest batch in which no part gives more than a share, and the most that one part then gives. `least` may always be given;
 * `free` samples belong to no part.
 */
export function fittingShares(
  counts: readonly number[],
  { share, capacity, free = 0, least = 1 }: { share: number; capacity: number; free?: number; least?: number },
): { cap: number; size: number } {
  const sizeAt = (cap: number) =>
    Math.min(
      capacity,
      counts.reduce((sum, count) => sum + Math.min(count, cap), free),
    );
  let size = sizeAt(Number.POSITIVE_INFINITY);
  for (;;) {
    const cap = Math.max(least, Math.floor(share * size));
    const fitting = sizeAt(cap);
    if (fitting >= size) return { cap, size };
    size = fitting;
  }
}

/** Chooses a batch, oldest first, within the allowance. */
export function chooseBatch<T extends { subject_id: string | null }>(samples: readonly T[], allowance: BatchAllowance, rules: Rules): T[] {
  const taken = new Map<string, number>();
  const batch: T[] = [];
  for (const sample of samples) {
    if (batch.length >= allowance.eligible) break;
    const subject = sample.subject_id ?? "";
    const isFree = subject === "" && rules.anonymous === "distinct";
    const count = taken.get(subject) ?? 0;
    if (!isFree && count >= allowance.perSubject) continue;
    taken.set(subject, count + 1);
    batch.push(sample);
  }
  return batch;
}
