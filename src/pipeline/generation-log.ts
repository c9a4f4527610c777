import { setTimeout as delay } from "node:timers/promises";
import { sql } from "kysely";
import { ConfigurationError } from "../errors.js";
import type { Store } from "../store/store.js";
import { hashOf } from "../support/hash-of.js";
import { requireOneOf } from "../support/known-options.js";
import { tenantOf } from "../support/tenancy.js";
import type { CallOptions, Logger, Metadata } from "../types/common.js";
import type { RecordedGeneration } from "../types/generation.js";
import type { RoutingDecision } from "../types/routing.js";
import { addCanaryOutcomes, callOutcomeOf } from "./canary/canary-outcomes.js";
import type { FoundGeneration, GenerationsPort } from "./ports.js";
import { storableJson, storableText } from "./storable-text.js";

/** Options of `GenerationLog`. */
export interface GenerationLogOptions {
  store: Store;
  /**
   * What is kept of prompts and answers: `store` (default) the texts; `hash` only their SHA-256, so that feedback must bring the texts and
   * they are checked; `none` nothing, feedback must bring the texts.
   */
  texts?: "store" | "hash" | "none";
  /** Days after which an answer is deleted that no feedback names; `Infinity` keeps all. Default 30. */
  keepDays?: number;
  /** Milliseconds that a record may wait for others. Default 100. */
  batchMs?: number;
  /** Records held while the database is away; the oldest go first, with a warning. Default 10,000. */
  maxPending?: number;
  logger?: Logger;
}

const BATCH_ROWS = 200;
const RETRY_MS = 1_000;
/** Rows that one statement deletes, so that it takes a moment only. */
const EXPIRED_ROWS = 1_000;
const DAY_MS = 86_400_000;

/**
 * Remembers served answers, so that feedback names one by its id. Recording never holds up or fails a generation: records are
 * written in batches behind it.
 * @example
 * ```ts
 * const generations = new GenerationLog({ store, texts: "hash" });
 * const serving = new ServingClient({ engine: "runtime", endpoints: [runtime], recorder: generations });
 * ```
 */
export class GenerationLog implements GenerationsPort {
  readonly #store: Store;
  readonly #texts: "store" | "hash" | "none";
  readonly #keepMs: number;
  readonly #batchMs: number;
  readonly #maxPending: number;
  readonly #logger: Logger | undefined;
  readonly #pending = new Map<string, RecordedGeneration>();
  readonly #closing = new AbortController();
  #flushing: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #dropped = 0;

  constructor(options: GenerationLogOptions) {
    this.#store = options.store;
    this.#texts = options.texts ?? "store";
    requireOneOf("GenerationLog: texts", this.#texts, ["store", "hash", "none"]);
    const { keepDays = 30 } = options;
    if (!(keepDays > 0)) throw new ConfigurationError("config_invalid", `GenerationLog: keepDays: give more than 0 days, not ${keepDays}.`);
    this.#keepMs = keepDays * DAY_MS;
    this.#batchMs = options.batchMs ?? 100;
    this.#maxPending = options.maxPending ?? 10_000;
    this.#logger = options.logger;
  }

  /**
   * Queues a served answer; returns at once and never throws. `ServingClient` calls it.
   * @example
   * ```ts
   * generations.record({ ...reply, prompt: text, messages: [{ role: "user", content: text }], createdAt: new Date().toISOString() });
   * ```
   */
  record(generation: RecordedGeneration): void {
    if (this.#pending.size >= this.#maxPending) {
      const oldest = this.#pending.keys().next().value;
      if (oldest !== undefined) this.#pending.delete(oldest);
      this.#dropped++;
      if (this.#dropped === 1)
        this.#logger?.warn({ maxPending: this.#maxPending }, "generations are dropped: the database does not keep up");
    }
    this.#pending.set(generation.id, generation);
    if (this.#timer === null && !this.#closing.signal.aborted) {
      this.#timer = setTimeout(() => {
        this.#timer = null;
        this.#flushInBackground();
      }, this.#batchMs).unref();
    }
  }

  /**
   * Finds a served answer, also one that is not written yet.
   * @returns null where the id is unknown
   * @example
   * ```ts
   * const asked = (await generations.find(reply.id))?.prompt;
   * ```
   */
  async find(id: string, _options: CallOptions = {}): Promise<FoundGeneration | null> {
    const pending = this.#pending.get(id);
    if (pending !== undefined) return this.#toFound({ ...this.#toRow(pending), decision: pending.routing, metadata: pending.metadata });
    const row = await this.#store.db.selectFrom("generations").selectAll().where("id", "=", id).executeTakeFirst();
    return row === undefined ? null : this.#toFound(row);
  }

  /**
   * Writes everything queued so far; rejects where the database cannot be reached, and keeps the records.
   * @example
   * ```ts
   * await generations.flush();
   * ```
   */
  async flush(): Promise<void> {
    while (this.#pending.size > 0) {
      if (this.#flushing === null) {
        this.#flushing = this.#writeBatch().finally(() => {
          this.#flushing = null;
        });
      }
      await this.#flushing;
    }
  }

  /**
   * Deletes what a person asked and was answered; with a tenant only what they asked in its name (`metadata.tenant`).
   * @example
   * ```ts
   * const deleted = await generations.eraseSubject(user.id);
   * ```
   */
  async eraseSubject(subjectId: string, { tenant }: CallOptions & { tenant?: string } = {}): Promise<number> {
    for (const [id, generation] of this.#pending) {
      const isMeant = generation.subjectId === subjectId && (tenant === undefined || tenantOf(generation.metadata) === tenant);
      if (isMeant) this.#pending.delete(id);
    }
    await this.#flushing?.catch(() => {}); // its failure is its caller's; here only the rows already written matter
    const result = await this.#store.db
      .deleteFrom("generations")
      .where("subject_id", "=", subjectId)
      .$if(tenant !== undefined, (query) => query.where(sql`metadata->>'tenant'`, "=", tenant))
      .executeTakeFirst();
    return Number(result.numDeletedRows);
  }

  /**
   * Deletes the oldest of the answers that are older than `keepDays` and that no feedback names, at most a thousand at a time. A started
   * pipeline calls it until none is left, and once an hour. Feedback that names a deleted one is refused like that of any unknown id
   * (`generation_not_found`).
   * @returns how many were deleted
   * @example
   * ```ts
   * const deleted = await new GenerationLog({ store, keepDays: 7 }).expire();
   * ```
   */
  async expire(_options: CallOptions = {}): Promise<number> {
    if (this.#keepMs === Number.POSITIVE_INFINITY) return 0;
    const { numAffectedRows } = await sql`
      delete from clara.generations where id in (
        select id from clara.generations generation
        where created_at < ${new Date(Date.now() - this.#keepMs)}
          and not exists (select from clara.feedback where generation_id = generation.id)
        order by created_at limit ${EXPIRED_ROWS}
      )`.execute(this.#store.db);
    return Number(numAffectedRows);
  }

  /**
   * Writes what is queued and stops.
   * @example
   * ```ts
   * await generations.close();
   * ```
   */
  async close(): Promise<void> {
    this.#closing.abort();
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    await this.flush();
  }

  #flushInBackground(): void {
    this.flush().catch(async (error: unknown) => {
      this.#logger?.warn({ err: error, pending: this.#pending.size }, "generations could not be written; trying again");
      const elapsed = await delay(RETRY_MS, true, { ref: false, signal: this.#closing.signal }).catch(() => false);
      if (elapsed) this.#flushInBackground();
    });
  }

  async #writeBatch(): Promise<void> {
    const batch = [...this.#pending.values()].slice(0, BATCH_ROWS);
    if (batch.length === 0) return;
    await this.#store.db.transaction().execute(async (transaction) => {
      await transaction
        .insertInto("generations")
        .values(batch.map((generation) => this.#toRow(generation)))
        .onConflict((conflict) => conflict.column("id").doNothing())
        .execute();
      await addCanaryOutcomes(
        transaction,
        batch.flatMap((generation) => callOutcomeOf(generation) ?? []),
      );
    });
    for (const generation of batch) if (this.#pending.get(generation.id) === generation) this.#pending.delete(generation.id);
  }

  #toRow(generation: RecordedGeneration) {
    const stored = this.#texts === "store";
    return {
      id: generation.id,
      prompt: stored ? storableText(generation.prompt) : null,
      response: stored ? storableText(generation.text) : null,
      text_hash: this.#texts === "hash" ? textHash(generation.prompt, generation.text) : null,
      adapter_id: generation.adapterId,
      model: generation.model,
      domain: generation.domain ?? generation.routing?.domain ?? null,
      subject_id: generation.subjectId ?? null,
      decision_id: generation.routing?.id ?? null,
      decision: generation.routing === undefined ? null : storableJson(generation.routing),
      prompt_tokens: generation.usage.promptTokens,
      completion_tokens: generation.usage.completionTokens,
      finish_reason: generation.finishReason,
      latency_ms: generation.latencyMs,
      metadata: storableJson(generation.metadata ?? {}),
      created_at: new Date(generation.createdAt),
    };
  }

  #toFound(row: {
    id: string;
    prompt: string | null;
    response: string | null;
    text_hash: string | null;
    adapter_id: string | null;
    domain: string | null;
    subject_id: string | null;
    decision_id: string | null;
    decision?: unknown;
    metadata?: unknown;
  }): FoundGeneration {
    return {
      id: row.id,
      prompt: row.prompt,
      response: row.response,
      textHash: row.text_hash,
      adapterId: row.adapter_id,
      domain: row.domain,
      subjectId: row.subject_id,
      tenant: tenantOf(row.metadata as Metadata | undefined),
      decisionId: row.decision_id,
      canary: (row.decision as RoutingDecision | null | undefined)?.canary ?? null,
    };
  }
}

/** The hash that `texts: "hash"` keeps. */
export function textHash(prompt: string, response: string): string {
  return hashOf(storableText(prompt), storableText(response));
}
