import { sql } from "kysely";
import { AbortedError, ClaraError, OverloadedError, StorageError } from "../errors.js";
import { notifyOthers } from "../store/notifications.js";
import type { Executor, JournalEntry, Store } from "../store/store.js";
import type { CallOptions } from "../types/common.js";
import type { FirewallFinding } from "../types/feedback.js";
import { changedMeanwhile, versionsUpTo } from "./amendment.js";
import type { FeedbackBuffer } from "./buffer.js";
import { addCanaryOutcomes, type CanaryOutcome } from "./canary/canary-outcomes.js";
import { type FeedbackRow, type IntakeRecord, insertRows } from "./feedback-rows.js";
import { type IntakeLimitParts, IntakeLimits } from "./firewall/intake-limits.js";
import { type IntakeFacts, type KnownFeedback, readIntakeFacts } from "./intake-facts.js";
import { storableJson } from "./storable-text.js";

/** What became of a record. */
export interface IntakeOutcome {
  id: string;
  status: "accepted" | "rejected" | "duplicate" | "review";
  code: string | null;
  reason: string | null;
  /** What only what others gave could show. */
  finding?: FirewallFinding;
}

interface Waiting {
  record: IntakeRecord;
  resolve(outcome: IntakeOutcome): void;
  reject(error: unknown): void;
}

type Decision = { outcome: IntakeOutcome; stored: IntakeRecord | null } | { error: ClaraError };

const BATCH_RECORDS = 200;
const RETRY_AFTER_MS = 5_000;

/** Takes the lock under which duplicates and free places are decided, over all processes of the database. */
export async function lockIntake(transaction: Executor, pipeline: string): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${`clara:intake:${pipeline}`}, 0))`.execute(transaction);
}

/** The refusal of a sample for which there is no place. */
export function bufferFull(domain: string, capacity: number): OverloadedError {
  return new OverloadedError(
    "buffer_full",
    `The buffer of the domain "${domain}" is full: ${capacity} samples wait for a cycle. Nothing of this feedback was kept; send it again later.`,
    RETRY_AFTER_MS,
    { details: { domain, capacity } },
  );
}

/**
 * Writes feedback in groups: one transaction for all that arrived while the last one committed, then the journal, then the
 * acknowledgements. What is acknowledged is on disk.
 */
export class IntakeWriter {
  readonly #store: Store;
  readonly #pipeline: string;
  readonly #buffer: FeedbackBuffer;
  readonly #limits: IntakeLimitParts;
  #waiting: Waiting[] = [];
  #draining: Promise<void> | null = null;
  /** Committed, but the journal refused them: they go with the next entries, because a duplicate of theirs may be acknowledged. */
  #unjournaled: JournalEntry[] = [];

  constructor(store: Store, buffer: FeedbackBuffer, limits: IntakeLimitParts) {
    this.#store = store;
    this.#pipeline = limits.pipeline;
    this.#buffer = buffer;
    this.#limits = limits;
  }

  /** Resolves when the record is durable. An abort counts until its transaction begins. */
  write(record: IntakeRecord, { signal }: CallOptions = {}): Promise<IntakeOutcome> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(new AbortedError());
        return;
      }
      const abort = () => {
        const index = this.#waiting.indexOf(entry);
        if (index === -1) return;
        this.#waiting.splice(index, 1);
        reject(new AbortedError("The feedback was aborted before it was written; nothing of it was kept."));
      };
      const done = () => signal?.removeEventListener("abort", abort);
      const entry: Waiting = {
        record,
        resolve: (outcome) => {
          done();
          resolve(outcome);
        },
        reject: (error) => {
          done();
          reject(error);
        },
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiting.push(entry);
      this.#draining ??= this.#drain();
    });
  }

  /** Waits until everything handed over so far is decided. */
  async idle(): Promise<void> {
    while (this.#draining !== null) await this.#draining;
  }

  async #drain(): Promise<void> {
    // one turn of the event loop, so that calls of the same moment share a transaction
    await new Promise<void>((resolve) => void setImmediate(resolve));
    while (this.#waiting.length > 0) await this.#writeGroup(this.#waiting.splice(0, BATCH_RECORDS));
    this.#draining = null;
  }

  async #writeGroup(group: readonly Waiting[]): Promise<void> {
    let decisions: Decision[];
    try {
      decisions = await this.#commit(group.map((waiting) => waiting.record));
    } catch (error) {
      // one record that the database cannot hold must not take the others with it
      if (group.length > 1 && !(ClaraError.isInstance(error) && error.isRetryable)) {
        for (const waiting of group) await this.#writeGroup([waiting]);
        return;
      }
      for (const waiting of group) waiting.reject(asStorageError(error));
      return;
    }
    try {
      await this.#journal(decisions);
    } catch (error) {
      for (const waiting of group) waiting.reject(asStorageError(error));
      return;
    }
    group.forEach((waiting, index) => {
      const decision = decisions[index] as Decision;
      if ("error" in decision) waiting.reject(decision.error);
      else waiting.resolve(decision.outcome);
    });
    if (decisions.some((decision) => "stored" in decision && decision.stored !== null && changesMemory(decision.stored))) {
      this.#store.notifications.announce("memory", null);
    }
    this.#buffer.noteStored(decisions.flatMap((decision) => ("stored" in decision ? (decision.stored?.sample ?? []) : [])));
  }

  #commit(records: readonly IntakeRecord[]): Promise<Decision[]> {
    return this.#store.db.transaction().execute(async (transaction) => {
      await lockIntake(transaction, this.#pipeline);
      const facts = await readIntakeFacts(transaction, records, this.#limits);
      const limits = new IntakeLimits(this.#limits, facts);
      const decisions = records.map((record) => decide(record, facts, limits, this.#buffer.capacity));
      const stored = decisions.flatMap((decision) => ("stored" in decision && decision.stored !== null ? [decision.stored] : []));
      await insertRecords(transaction, stored);
      await addCanaryOutcomes(transaction, stored.flatMap(outcomeOf));
      if (stored.some(changesMemory)) await notifyOthers(transaction, "memory", "changed");
      return decisions;
    });
  }

  async #journal(decisions: readonly Decision[]): Promise<void> {
    const { journal } = this.#store;
    if (journal === null) return;
    const entries = [
      ...this.#unjournaled,
      ...decisions.flatMap((decision) => ("stored" in decision && decision.stored !== null ? [toEntry(decision.stored)] : [])),
    ];
    this.#unjournaled = entries;
    const results = await Promise.allSettled(entries.map((entry) => journal.append(entry)));
    this.#unjournaled = entries.filter((_, index) => results[index]?.status === "rejected");
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }
}

/** Two people may say the same of an answer; what was refused, or waits for a person, says nothing. */
function outcomeOf({ feedback, outcome }: IntakeRecord): CanaryOutcome[] {
  return outcome !== undefined && ["accepted", "duplicate"].includes(feedback.status) ? [outcome] : [];
}

/** A new version may take a correction back. */
function changesMemory({ feedback, sample }: IntakeRecord): boolean {
  return sample?.rejected_response != null || (sample !== null && feedback.replaces != null);
}

function takesPlace(record: IntakeRecord): boolean {
  return record.sample?.objective === "imitate";
}

/** Decides one record and notes it in `known` for those after it. */
function decide(record: IntakeRecord, known: IntakeFacts, limits: IntakeLimits, capacity: number): Decision {
  const { feedback } = record;
  const key = feedback.idempotency_key ?? null;
  const sameKey = key === null ? undefined : known.byKey.get(key);
  if (sameKey !== undefined) return { outcome: { id: sameKey.id, status: "duplicate", ...repetitionOf(sameKey, feedback) }, stored: null };
  const newer = feedback.replaces == null ? undefined : known.replacedBy.get(feedback.replaces);
  if (newer !== undefined) return { error: changedMeanwhile(feedback.replaces!, newer) };
  const refusal = limits.refuse(record);
  if (refusal !== null) return { error: refusal };
  const hash = feedback.content_hash ?? null;
  const sameContent = hash === null ? undefined : known.byContent.get(hash);
  const isOwn = sameContent !== undefined && feedback.replaces != null && known.versions.get(feedback.replaces)?.has(sameContent);
  if (sameContent !== undefined && !isOwn) {
    const reason = `it repeats the feedback ${sameContent}`;
    const duplicate = { ...feedback, status: "duplicate", code: "duplicate", reason, duplicate_of: sameContent, content_hash: null };
    if (key !== null) known.byKey.set(key, { id: feedback.id, status: "duplicate", said: saidIn(feedback) });
    return {
      outcome: { id: feedback.id, status: "duplicate", code: "duplicate", reason },
      stored: { ...record, feedback: duplicate, sample: null },
    };
  }
  const cluster = limits.cluster(record);
  if (cluster === null && takesPlace(record)) {
    const waiting = known.waiting.get(feedback.domain) ?? 0;
    if (waiting >= capacity) return { error: bufferFull(feedback.domain, capacity) };
    known.waiting.set(feedback.domain, waiting + 1);
  }
  // The version that it replaces keeps the hash of what both say until this one counts.
  const waits = cluster !== null || feedback.status === "review";
  const stored = waits && sameContent !== undefined ? { ...record, feedback: { ...feedback, content_hash: null } } : record;
  if (stored.feedback.content_hash != null) known.byContent.set(stored.feedback.content_hash, feedback.id);
  if (key !== null) known.byKey.set(key, { id: feedback.id, status: feedback.status, said: saidIn(feedback) });
  if (feedback.replaces != null && feedback.status !== "rejected") known.replacedBy.set(feedback.replaces, feedback.id);
  if (cluster !== null) return reviewed(stored, cluster);
  const status = feedback.status as IntakeOutcome["status"];
  return { outcome: { id: feedback.id, status, code: feedback.code ?? null, reason: feedback.reason ?? null }, stored };
}

/** Whoever gives a key anew with other content is told that it was not taken. */
function repetitionOf({ id, status, said }: KnownFeedback, feedback: FeedbackRow): Pick<IntakeOutcome, "code" | "reason"> {
  const isSame = said === null || saidIn(feedback).every((part, index) => part === said[index]);
  if (isSame) return { code: "duplicate", reason: `the idempotency key was received before, with the status "${status}"` };
  const reason = `the idempotency key was received before with other content (feedback ${id}, ${status}); nothing of this one was kept. Give it a key of its own, or change the first one with amendFeedback`;
  return { code: "idempotency_key_reused", reason };
}

function saidIn({ prompt, response, correction, rating }: FeedbackRow): NonNullable<KnownFeedback["said"]> {
  return [prompt ?? "", response ?? "", correction ?? null, rating];
}

/** It may be right; a person decides. */
function reviewed(record: IntakeRecord, finding: FirewallFinding): Decision {
  const { code, reason } = finding;
  const findings = storableJson([...(JSON.parse(record.feedback.findings) as FirewallFinding[]), finding]);
  const feedback = { ...record.feedback, status: "review", code, reason, findings };
  return { outcome: { id: feedback.id, status: "review", code, reason, finding }, stored: { ...record, feedback, sample: null } };
}

/** Inserts feedback and samples; ids that are there already stay as they are. */
export async function insertRecords(transaction: Executor, records: readonly IntakeRecord[]): Promise<void> {
  if (records.length === 0) return;
  const feedback = records.map((record) => record.feedback);
  const samples = records.flatMap((record) => record.sample ?? []);
  // Before the new versions come in, for they may say the same with another weight.
  await retireReplacedBy(transaction, records);
  const insertion = sql`${insertRows("feedback", feedback)} on conflict (id) do nothing`;
  if (samples.length === 0) await insertion.execute(transaction);
  else await sql`with stored as (${insertion}) ${insertRows("samples", samples)} on conflict (id) do nothing`.execute(transaction);
}

/** What accepted records take the place of. */
export async function retireReplacedBy(transaction: Executor, records: readonly IntakeRecord[]): Promise<void> {
  for (const { feedback } of records) {
    if (feedback.replaces != null && feedback.status === "accepted") await retireReplaced(transaction, feedback.replaces, feedback.id);
  }
}

/** What waits gives way to its new version, with all versions before it; what a cycle has claimed or used stays in its books. */
export async function retireReplaced(transaction: Executor, id: string, by: string): Promise<void> {
  const { rows } = await versionsUpTo([id]).execute(transaction);
  const ids = rows.map((row) => row.id);
  if (ids.length === 0) return;
  await transaction
    .updateTable("samples")
    .set({ state: "excluded", state_reason: `replaced by ${by}` })
    .where("id", "in", ids)
    .where("state", "=", "waiting")
    .execute();
  await transaction.updateTable("feedback").set({ content_hash: null, sketch_key: null }).where("id", "in", ids).execute();
  await transaction
    .updateTable("feedback")
    .set({ status: "rejected", code: "replaced", reason: `replaced by ${by}` })
    .where("id", "in", ids)
    .where("status", "=", "review")
    .execute();
}

function toEntry({ feedback, sample }: IntakeRecord): JournalEntry {
  return { kind: "feedback", id: feedback.id, payload: { feedback, sample } };
}

function asStorageError(error: unknown): ClaraError {
  if (ClaraError.isInstance(error)) return error;
  const message = error instanceof Error ? error.message.split("\n", 1)[0] : String(error);
  return new StorageError("store_unavailable", `The feedback could not be stored: ${message}. Send it again.`, {
    cause: error,
    isRetryable: true,
  });
}
