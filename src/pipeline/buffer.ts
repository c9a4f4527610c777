import { type RawBuilder, sql } from "kysely";
import type { Executor, Store } from "../store/store.js";
import type { CallOptions } from "../types/common.js";
import type { DomainFacts } from "./triggers.js";

/** What the buffer holds; counts of samples. */
export interface BufferStats {
  /** Waiting imitable samples that a domain may hold. */
  capacity: number;
  /** Imitable samples waiting for a cycle. */
  waiting: number;
  waitingByDomain: Record<string, number>;
  /** In a cycle that runs. */
  claimed: number;
  /** Learnt: in an activated adapter's manifest. */
  used: number;
  /** Thumbs down without a right answer, kept for preference training. */
  preference: number;
  quarantined: number;
  /** When this was read, ISO 8601; null before the first read. */
  asOf: string | null;
}

function noStats(capacity: number, asOf: string | null): BufferStats {
  return { capacity, waiting: 0, waitingByDomain: {}, claimed: 0, used: 0, preference: 0, quarantined: 0, asOf };
}

/** Imitable samples that wait, by domain; domains without any are absent. */
export function countWaiting(pipeline: string, domains: readonly string[]): RawBuilder<{ domain: string; count: string }> {
  return sql`select domain, count(*) from clara.samples
    where pipeline = ${pipeline} and state = 'waiting' and objective = 'imitate' and domain = any(${[...domains]}::text[]) group by domain`;
}

/** The samples that wait to be learnt, in the database; at most `capacity` imitable ones per domain. */
export class FeedbackBuffer {
  readonly #store: Store;
  readonly #pipeline: string;
  readonly #capacity: number;
  #latest: BufferStats;

  constructor(store: Store, pipeline: string, capacity: number) {
    this.#store = store;
    this.#pipeline = pipeline;
    this.#capacity = capacity;
    this.#latest = noStats(capacity, null);
  }

  get capacity(): number {
    return this.#capacity;
  }

  /**
   * The counts as this process last saw them: counted up with each of its own feedbacks, read again after each stage of its
   * cycles and every few seconds while the pipeline is started. `refresh` reads them now.
   * @example
   * ```ts
   * clara.pipeline.buffer.stats().waitingByDomain; // { building: 42 }
   * ```
   */
  stats(): BufferStats {
    return { ...this.#latest, waitingByDomain: { ...this.#latest.waitingByDomain } };
  }

  /**
   * Counts what this process has just stored, until the next read.
   * @internal
   */
  noteStored(samples: readonly { domain: string; objective: string }[]): void {
    for (const { domain, objective } of samples) {
      if (objective === "preference") this.#latest.preference++;
      else {
        this.#latest.waiting++;
        this.#latest.waitingByDomain[domain] = (this.#latest.waitingByDomain[domain] ?? 0) + 1;
      }
    }
  }

  /**
   * Reads the counts from the database.
   * @example
   * ```ts
   * const { waiting } = await clara.pipeline.buffer.refresh();
   * ```
   */
  async refresh(_options: CallOptions = {}): Promise<BufferStats> {
    const rows = await this.#store.db
      .selectFrom("samples")
      .select(["domain", "state", "objective", (eb) => eb.fn.countAll<string>().as("count")])
      .where("pipeline", "=", this.#pipeline)
      .groupBy(["domain", "state", "objective"])
      .execute();
    const stats = noStats(this.#capacity, new Date().toISOString());
    for (const row of rows) {
      const count = Number(row.count);
      if (row.objective === "preference") {
        if (row.state === "waiting") stats.preference += count;
      } else if (row.state === "waiting") {
        stats.waiting += count;
        stats.waitingByDomain[row.domain] = count;
      } else if (row.state === "claimed") stats.claimed += count;
      else if (row.state === "used") stats.used += count;
      else if (row.state === "quarantined") stats.quarantined += count;
    }
    this.#latest = stats;
    return this.stats();
  }

  /**
   * Free places of a domain, as the transaction sees them.
   * @internal
   */
  async freePlaces(executor: Executor, domain: string): Promise<number> {
    const { rows } = await countWaiting(this.#pipeline, [domain]).execute(executor);
    return Math.max(0, this.#capacity - Number(rows[0]?.count ?? 0));
  }

  /**
   * What the triggers need to know of every domain in which something waits.
   * @internal
   */
  async domainFacts(executor: Executor = this.#store.db, domain?: string): Promise<DomainFacts[]> {
    let query = executor
      .selectFrom("samples")
      .select(["domain", "subject_id", (eb) => eb.fn.countAll<string>().as("count"), (eb) => eb.fn.min("created_at").as("oldest")])
      .where("pipeline", "=", this.#pipeline)
      .where("state", "=", "waiting")
      .where("objective", "=", "imitate");
    if (domain !== undefined) query = query.where("domain", "=", domain);
    const rows = await query.groupBy(["domain", "subject_id"]).execute();
    const facts = new Map<string, DomainFacts & { bySubject: Map<string, number> }>();
    for (const row of rows) {
      const oldest = (row.oldest as Date).getTime();
      const known = facts.get(row.domain);
      if (known === undefined)
        facts.set(row.domain, { ...emptyFacts(row.domain, oldest), bySubject: new Map([[row.subject_id ?? "", Number(row.count)]]) });
      else {
        known.bySubject.set(row.subject_id ?? "", Number(row.count));
        known.oldestWaitingAt = Math.min(known.oldestWaitingAt, oldest);
      }
    }
    if (facts.size === 0) return [];
    const trainingSecondsToday = await this.#trainingSecondsToday(executor);
    for (const known of facts.values()) Object.assign(known, await this.#history(executor, known.domain), { trainingSecondsToday });
    return [...facts.values()];
  }

  async #trainingSecondsToday(executor: Executor): Promise<number> {
    const { rows } = await sql<{ seconds: number }>`
      select coalesce(sum(phase.seconds::float8), 0) as seconds from clara.cycle_stages s
      join clara.cycles c on c.id = s.cycle_id, jsonb_each_text(s.detail->'seconds') as phase (name, seconds)
      where c.pipeline = ${this.#pipeline} and s.name = 'train' and s.ended_at > now() - interval '24 hours'`.execute(executor);
    return rows[0]!.seconds;
  }

  async #history(executor: Executor, domain: string): Promise<Partial<DomainFacts>> {
    const cycles = await executor
      .selectFrom("cycles")
      .select(["status", "ended_at"])
      .where("pipeline", "=", this.#pipeline)
      .where("domain", "=", domain)
      .orderBy("created_at", "desc")
      .limit(12)
      .execute();
    const canary = await executor
      .selectFrom("canaries")
      .select("id")
      .where("domain", "=", domain)
      .where("ended_at", "is", null)
      .executeTakeFirst();
    const hasCanary = canary !== undefined;
    const ended = cycles.filter((cycle) => cycle.ended_at !== null);
    const last = ended[0];
    if (last === undefined) return { hasCanary, hasOpenCycle: cycles.length > 0 };
    const firstOther = ended.findIndex((cycle) => cycle.status !== "failed");
    const { count } = await executor
      .selectFrom("samples")
      .select(sql<string>`count(*)`.as("count"))
      .where("pipeline", "=", this.#pipeline)
      .where("domain", "=", domain)
      .where("state", "=", "waiting")
      .where("objective", "=", "imitate")
      .where("created_at", ">", last.ended_at as Date)
      .executeTakeFirstOrThrow();
    return {
      hasCanary,
      hasOpenCycle: ended.length < cycles.length,
      lastCycleEndedAt: (last.ended_at as Date).getTime(),
      lastCycleStatus: last.status as DomainFacts["lastCycleStatus"],
      consecutiveFailures: firstOther === -1 ? ended.length : firstOther,
      newSinceLastCycle: Number(count),
    };
  }
}

function emptyFacts(domain: string, oldestWaitingAt: number): Omit<DomainFacts, "bySubject"> {
  return {
    domain,
    oldestWaitingAt,
    hasOpenCycle: false,
    hasCanary: false,
    lastCycleEndedAt: null,
    lastCycleStatus: null,
    consecutiveFailures: 0,
    newSinceLastCycle: 0,
    trainingSecondsToday: 0,
  };
}
