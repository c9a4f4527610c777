import { sql } from "kysely";
import { ConfigurationError } from "../../errors.js";
import type { Store } from "../../store/store.js";
import { givenTenant, plainDomain } from "../../support/tenancy.js";
import type { CallOptions, ConversationTurn, Logger, Metadata } from "../../types/common.js";
import type { RecalledCorrection } from "../../types/memory.js";
import { type Correction, CorrectionIndex } from "./correction-index.js";

/** Options of `CorrectionMemory`. */
export interface CorrectionMemoryOptions {
  store: Store;
  /** Whose corrections. Default `default`. */
  pipeline?: string;
  /** Corrections held at most, the newest. Default 5,000. */
  maxCorrections?: number;
  /** Milliseconds after which corrections are read again though nobody told of a change. Default 5,000. */
  refreshIntervalMs?: number;
  logger?: Logger;
}

/** For whom it is recalled. */
export interface RecallOptions extends CallOptions {
  domain?: string;
  /** Of it `tenant` counts: corrections whose feedback had the same one, or none where it is absent. */
  metadata?: Metadata;
}

/** What `CorrectionMemory.times` tells. */
export interface LearningTimes {
  /** Corrections that helped an answer before an adapter knew them, and the median milliseconds from feedback to the first such answer. */
  recalled: number;
  medianMsToFirstEffect: number | null;
  /** Corrections that an adapter that serves has learnt, and the median milliseconds from feedback to its activation. */
  learnt: number;
  medianMsToWeights: number | null;
}

/**
 * Accepted corrections that no adapter that serves is shown to know: the next similar question gets them. Each is forgotten the moment an
 * adapter that learnt it passes the gate and serves, unless it answered a held-out phrasing of it wrong, and is back if that one is rolled back. It is given as `memory` to `ServingClient`.
 * @example
 * ```ts
 * const memory = new CorrectionMemory({ store });
 * const serving = new ServingClient({ engine: "runtime", endpoints: [runtime], memory });
 * const reply = await serving.generate({ prompt: "What does a fence permit cost?", memory: true });
 * ```
 */
export class CorrectionMemory {
  readonly #store: Store;
  readonly #pipeline: string;
  readonly #maxCorrections: number;
  readonly #refreshIntervalMs: number;
  readonly #logger: Logger | undefined;
  #index = new CorrectionIndex([]);
  /** When the read began that the index comes from, and when corrections last changed; `performance.now()`. */
  #indexAsOf = Number.NEGATIVE_INFINITY;
  #changedAt = 0;
  #reading: Promise<void> | null = null;
  #unsubscribe: (() => void)[] = [];
  readonly #noting = new Set<Promise<unknown>>();

  constructor(options: CorrectionMemoryOptions) {
    this.#store = options.store;
    this.#pipeline = options.pipeline ?? "default";
    this.#maxCorrections = options.maxCorrections ?? 5_000;
    this.#refreshIntervalMs = options.refreshIntervalMs ?? 5_000;
    this.#logger = options.logger;
    if (!(this.#maxCorrections >= 1)) {
      throw new ConfigurationError("config_invalid", `maxCorrections must be at least 1, not ${this.#maxCorrections}.`);
    }
  }

  /** Corrections that are held. */
  get size(): number {
    return this.#index.size;
  }

  /**
   * Corrections of questions that ask the same as the last user turn, the most similar first, three at most.
   * @example
   * ```ts
   * const [correction] = await clara.memory.recall([{ role: "user", content: "What does a fence permit cost?" }], { domain: "building" });
   * ```
   */
  async recall(messages: readonly ConversationTurn[], { domain, metadata }: RecallOptions = {}): Promise<RecalledCorrection[]> {
    const question = messages.findLast(({ role }) => role === "user")?.content ?? "";
    await this.#fresh();
    const scope = { domain: domain === undefined ? undefined : plainDomain(domain), tenant: givenTenant(metadata) };
    const found = this.#index.find(question, scope);
    if (found.length > 0) this.#noteRecalled(found.map(({ feedbackId }) => feedbackId));
    return found;
  }

  /**
   * How long corrections take to help, and to be learnt.
   * @example
   * ```ts
   * const { medianMsToFirstEffect, medianMsToWeights } = await clara.memory.times();
   * ```
   */
  async times(): Promise<LearningTimes> {
    await Promise.allSettled(this.#noting);
    const { rows } = await sql<{ recalled: number; effect: number | null; learnt: number; weights: number | null }>`
      with corrected as (
        select s.id, s.created_at, s.recalled_at, (
          select min(a.activated_at) from clara.cycle_samples m join clara.cycles c on c.id = m.cycle_id join clara.adapters a on a.id = c.adapter_id
          where m.sample_id = s.id and m.released_at is null and not m.unlearnt and c.domain = s.domain and a.activated_at is not null and a.revoked_reason is null) as learnt_at
        from clara.samples s where s.pipeline = ${this.#pipeline} and s.rejected_response is not null)
      select count(recalled_at)::int as recalled, count(learnt_at)::int as learnt,
        percentile_cont(0.5) within group (order by extract(epoch from recalled_at - created_at) * 1000) as effect,
        percentile_cont(0.5) within group (order by extract(epoch from learnt_at - created_at) * 1000) as weights
      from corrected`.execute(this.#store.db);
    const { recalled, effect, learnt, weights } = rows[0]!;
    return { recalled, medianMsToFirstEffect: effect, learnt, medianMsToWeights: weights };
  }

  /**
   * Stops listening.
   * @example
   * ```ts
   * await clara.memory.close();
   * ```
   */
  async close(): Promise<void> {
    for (const stop of this.#unsubscribe) stop();
    this.#unsubscribe = [];
    await Promise.allSettled([...this.#noting, this.#reading]);
  }

  /** What was accepted before this call is in the index after it; two reads at most, however often corrections change meanwhile. */
  async #fresh(): Promise<void> {
    if (this.#unsubscribe.length === 0) {
      const onChange = () => {
        this.#changedAt = performance.now();
      };
      this.#unsubscribe = (["memory", "adapters"] as const).map((topic) => this.#store.notifications.subscribe(topic, onChange));
    }
    const needed = Math.max(this.#changedAt, performance.now() - this.#refreshIntervalMs);
    while (this.#indexAsOf < needed) {
      this.#reading ??= this.#read().finally(() => {
        this.#reading = null;
      });
      await this.#reading;
    }
  }

  async #read(): Promise<void> {
    const asOf = performance.now();
    const { rows } = await sql<Correction>`
      select s.id as "feedbackId", s.domain, s.prompt, s.response as answer, f.metadata->>'tenant' as tenant
      from clara.samples s join clara.feedback f on f.id = s.id
      where s.pipeline = ${this.#pipeline} and s.rejected_response is not null and s.prompt <> ''
        and s.state in ('waiting', 'claimed', 'used')
        and not exists (
          select 1 from clara.cycle_samples m join clara.cycles c on c.id = m.cycle_id join clara.adapters a on a.id = c.adapter_id
          where m.sample_id = s.id and m.released_at is null and not m.unlearnt and c.domain = s.domain and a.status = 'active')
      order by s.created_at desc limit ${this.#maxCorrections}`.execute(this.#store.db);
    this.#index = new CorrectionIndex(rows.map((row) => ({ ...row, domain: plainDomain(row.domain) })));
    this.#indexAsOf = asOf;
  }

  /** Behind the answer, which does not wait for it. */
  #noteRecalled(ids: readonly string[]): void {
    const noting = this.#store.db
      .updateTable("samples")
      .set({ recalled_at: new Date() })
      .where("id", "in", ids)
      .where("recalled_at", "is", null)
      .execute()
      .catch((error: unknown) => this.#logger?.warn({ err: error }, "a recalled correction was not noted"))
      .finally(() => this.#noting.delete(noting));
    this.#noting.add(noting);
  }
}
