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
  let size = Math.min(waiting, capacity);
  let perSubject = Math.max(1, Math.floor(share * size));
  for (;;) {
    const cap = perSubject;
    const fitting = Math.min(
      capacity,
      capped.reduce((sum, count) => sum + Math.min(count, cap), free),
    );
    if (fitting >= size) break;
    size = fitting;
    perSubject = Math.max(1, Math.floor(share * size));
  }
  return { waiting, distinctSubjects: distinct, isTrusted: distinct >= rules.minDistinctSubjects, perSubject, eligible: size };
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
