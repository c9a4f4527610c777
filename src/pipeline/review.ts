import { AbortedError, ClaraError, ConflictError, NotFoundError, ValidationError } from "../errors.js";
import { notifyOthers } from "../store/notifications.js";
import type { Executor, Store } from "../store/store.js";
import type { CallOptions } from "../types/common.js";
import type { FirewallFinding, QualityReport } from "../types/feedback.js";
import { versionsUpTo } from "./amendment.js";
import type { FeedbackBuffer } from "./buffer.js";
import type { ReviewRecord } from "./feedback-recovery.js";
import { sampleRowOf } from "./feedback-rows.js";
import type { Firewall } from "./firewall/firewall.js";
import { bufferFull, lockIntake, retireReplaced } from "./intake-writer.js";
import { type CheckedDecision, parseDecision, parseReviewFilter, type ReviewDecision, type ReviewFilter } from "./review-decision.js";
import { admitApproved } from "./sample-ledger.js";
import { contentHash, lessonOf } from "./verdict.js";

/** A doubtful feedback that waits for a person. */
export interface ReviewItem {
  id: string;
  domain: string;
  prompt: string;
  response: string;
  correction: string | null;
  comment: string | null;
  rating: number;
  importance: number;
  subjectId: string | null;
  quality: QualityReport;
  /** What made it doubtful: a firewall finding's code, `quality`, or the gate's probe that points at it (`trigger_probe`, `memorisation`). */
  code: string | null;
  reason: string | null;
  findings: FirewallFinding[];
  createdAt: string;
}

/** What became of it. */
export interface ReviewOutcome {
  id: string;
  status: "accepted" | "rejected" | "duplicate";
  reason: string | null;
}

/** One of many decisions that could not be made. */
export interface ReviewFailure {
  id: string;
  error: ClaraError;
}

/** Where doubtful feedback waits for a person. */
export class ReviewQueue {
  readonly #store: Store;
  readonly #pipeline: string;
  readonly #buffer: FeedbackBuffer;
  readonly #firewall: Firewall;
  readonly #clock: () => number;
  readonly #onAccepted: (domain: string) => void;

  constructor(parts: {
    store: Store;
    pipeline: string;
    buffer: FeedbackBuffer;
    firewall: Firewall;
    clock: () => number;
    onAccepted(domain: string): void;
  }) {
    this.#store = parts.store;
    this.#pipeline = parts.pipeline;
    this.#buffer = parts.buffer;
    this.#firewall = parts.firewall;
    this.#clock = parts.clock;
    this.#onAccepted = (domain) => parts.onAccepted(domain);
  }

  /**
   * Lists what waits, oldest first; `limit` is 100 by default and 1,000 at most. @throws ValidationError `input_invalid`
   * @example
   * ```ts
   * for (const item of await clara.pipeline.review.list({ limit: 20 })) {
   *   await clara.pipeline.review.decide(item.id, { decision: "approve" });
   * }
   * ```
   */
  async list(filter: CallOptions & ReviewFilter = {}): Promise<ReviewItem[]> {
    const { limit, offset, domain, code } = parseReviewFilter(filter);
    if (filter.signal?.aborted) throw new AbortedError();
    let query = this.#store.db
      .selectFrom("feedback")
      .selectAll()
      .where("pipeline", "=", this.#pipeline)
      .where("status", "=", "review")
      .where("erased_at", "is", null);
    if (domain !== undefined) query = query.where("domain", "=", domain);
    if (code !== undefined) query = query.where("code", "=", code);
    const rows = await query.orderBy("created_at").orderBy("id").limit(Math.min(limit, 1000)).offset(offset).execute();
    return rows.map((row) => ({
      id: row.id,
      domain: row.domain,
      prompt: row.prompt ?? "",
      response: row.response ?? "",
      correction: row.correction,
      comment: row.comment,
      rating: row.rating,
      importance: row.importance,
      subjectId: row.subject_id,
      quality: row.quality as QualityReport,
      code: row.code,
      reason: row.reason,
      findings: row.findings as FirewallFinding[],
      createdAt: row.created_at.toISOString(),
    }));
  }

  /**
   * Decides many alike, each by itself: what cannot be decided (any more) is reported and holds nothing up.
   * @throws ValidationError `input_invalid` for what is no decision, before any is made
   * @example
   * ```ts
   * const waiting = await clara.pipeline.review.list({ code: "cluster" });
   * const { outcomes, failures } = await clara.pipeline.review.decideMany(
   *   waiting.map(({ id }) => id),
   *   { decision: "reject", reviewer: "erika" },
   * );
   * ```
   */
  async decideMany(
    ids: readonly string[],
    decision: Omit<ReviewDecision, "edited">,
    { signal }: CallOptions = {},
  ): Promise<{ outcomes: ReviewOutcome[]; failures: ReviewFailure[] }> {
    if (!Array.isArray(ids))
      throw new ValidationError("input_invalid", "Give an array of feedback ids to decide.", { details: { field: "ids" } });
    if (parseDecision(decision).isEdited)
      throw new ValidationError("input_invalid", "Many cannot be given one and the same edited text; decide each by itself.", {
        details: { field: "edited" },
      });
    const outcomes: ReviewOutcome[] = [];
    const failures: ReviewFailure[] = [];
    for (const id of ids) {
      if (signal?.aborted) throw new AbortedError("The decisions were aborted; those made so far stay.", { cause: signal.reason });
      try {
        outcomes.push(await this.decide(id, decision));
      } catch (error) {
        if (!ClaraError.isInstance(error)) throw error;
        failures.push({ id, error });
      }
    }
    return { outcomes, failures };
  }

  /**
   * Decides one: an approved one becomes a sample, as edited; personal data in the edit is taken out as it is of feedback.
   * @throws ValidationError `input_invalid` for what is no decision, `feedback_invalid` for an edit that is empty or asks what versions are tested on; NotFoundError
   * `feedback_not_found`; ConflictError where it does not wait for a decision; OverloadedError `buffer_full`
   * @example
   * ```ts
   * await clara.pipeline.review.decide(id, { decision: "approve", edited: "The fee is 12 euros." });
   * ```
   */
  async decide(id: string, decision: ReviewDecision, { signal }: CallOptions = {}): Promise<ReviewOutcome> {
    if (signal?.aborted) throw new AbortedError();
    const checked = this.#screened(parseDecision(decision));
    const { record, domain } = await this.#store.db.transaction().execute(async (transaction) => {
      await lockIntake(transaction, this.#pipeline);
      await notifyOthers(transaction, "memory", "changed");
      return this.#apply(transaction, id, checked);
    });
    await this.#store.journal?.append({ kind: "feedback-review", id, payload: record });
    this.#store.notifications.announce("memory", null);
    if (record.sample !== null) {
      this.#buffer.noteStored([record.sample]);
      this.#onAccepted(domain);
    }
    return { id, status: record.status, reason: record.reason };
  }

  #screened({ edited, ...decision }: CheckedDecision): CheckedDecision {
    const { prompt, response } = edited;
    if (prompt !== undefined && this.#firewall.isHeldOut(prompt)) {
      throw new ValidationError(
        "feedback_invalid",
        "Every version is tested on the edited question, so none may learn it. Give another one.",
        {
          details: { field: "edited.prompt" },
        },
      );
    }
    const redacted = (text: string) => this.#firewall.redacted(text);
    return {
      ...decision,
      edited: {
        ...(prompt === undefined ? {} : { prompt: redacted(prompt) }),
        ...(response === undefined ? {} : { response: redacted(response) }),
      },
    };
  }

  async #apply(transaction: Executor, id: string, decision: CheckedDecision): Promise<{ record: ReviewRecord; domain: string }> {
    const row = await transaction
      .selectFrom("feedback")
      .selectAll()
      .where("id", "=", id)
      .where("pipeline", "=", this.#pipeline)
      .executeTakeFirst();
    if (row === undefined)
      throw new NotFoundError("feedback_not_found", `There is no feedback "${id}" in this pipeline.`, { details: { id } });
    if (row.status !== "review" || row.erased_at !== null) {
      throw new ConflictError(
        "input_invalid",
        `Feedback "${id}" does not wait for a decision: it is ${row.erased_at === null ? row.status : "erased"}.`,
        {
          details: { id, status: row.status },
        },
      );
    }
    const decidedAt = new Date(this.#clock()).toISOString();
    const { edited, reviewer } = decision;
    if (!decision.isApproved) {
      return {
        record: await this.#settle(transaction, {
          feedbackId: id,
          status: "rejected",
          reason: "rejected by a reviewer",
          reviewer,
          decidedAt,
          sample: null,
        }),
        domain: row.domain,
      };
    }
    const prompt = edited.prompt ?? row.prompt ?? "";
    const lesson = {
      prompt,
      ...lessonOf({ response: row.response ?? "", correction: edited.response ?? row.correction ?? undefined, rating: row.rating }),
    };
    const hash = contentHash(lesson.objective, lesson.prompt, lesson.answer, row.domain);
    const earlier = row.replaces === null ? [] : (await versionsUpTo([row.replaces]).execute(transaction)).rows;
    const same = await transaction
      .selectFrom("feedback")
      .select("id")
      .where("pipeline", "=", this.#pipeline)
      .where("content_hash", "=", hash)
      .where("status", "in", ["accepted", "review"])
      .where("id", "not in", [id, ...earlier.map((version) => version.id)])
      .executeTakeFirst();
    if (same !== undefined) {
      const duplicate = {
        feedbackId: id,
        status: "duplicate" as const,
        reason: `it repeats the feedback ${same.id}`,
        reviewer,
        decidedAt,
        sample: null,
      };
      return { record: await this.#settle(transaction, duplicate), domain: row.domain };
    }
    if (lesson.objective === "imitate" && (await this.#buffer.freePlaces(transaction, row.domain)) < 1) {
      throw bufferFull(row.domain, this.#buffer.capacity);
    }
    const quality = row.quality as QualityReport;
    const sample = sampleRowOf({ ...row, created_at: decidedAt }, lesson, quality.score);
    if (row.replaces !== null) await retireReplaced(transaction, row.replaces, id);
    await transaction.updateTable("feedback").set({ content_hash: hash }).where("id", "=", id).execute();
    const record: ReviewRecord = { feedbackId: id, status: "accepted", reason: "approved by a reviewer", reviewer, decidedAt, sample };
    await admitApproved(transaction, sample);
    return { record: await this.#settle(transaction, record), domain: row.domain };
  }

  async #settle(transaction: Executor, record: ReviewRecord): Promise<ReviewRecord> {
    await transaction
      .updateTable("feedback")
      .set({ status: record.status, reason: record.reason, reviewer: record.reviewer, decided_at: record.decidedAt })
      .where("id", "=", record.feedbackId)
      .execute();
    return record;
  }
}
