import { sql } from "kysely";
import { OverloadedError } from "../../errors.js";
import type { Executor } from "../../store/store.js";
import type { FirewallFinding, PairSketch } from "../../types/feedback.js";
import type { IntakeRecord } from "../feedback-rows.js";
import type { DatasetsPort } from "../ports.js";
import type { FirewallOptions } from "./firewall-options.js";

const MINUTE_MS = 60_000;
/** Sketches of one key that are compared with; a key with more says little by itself. */
const MAX_COMPARED = 500;

/** What the limits work with. */
export interface IntakeLimitParts {
  pipeline: string;
  options: Pick<FirewallOptions, "maxAlike" | "alikeWindowMs" | "maxPerMinute">;
  areAlike: NonNullable<DatasetsPort["quality"]["areAlike"]> | undefined;
  clock: () => number;
}

/** What persons and clusters have given, as the transaction sees it; each decision is noted for those after it. */
export class IntakeLimits {
  readonly #parts: IntakeLimitParts;
  readonly #bySubject: Map<string, number>;
  readonly #byKey: Map<string, PairSketch[]>;

  private constructor(parts: IntakeLimitParts, bySubject: Map<string, number>, byKey: Map<string, PairSketch[]>) {
    this.#parts = parts;
    this.#bySubject = bySubject;
    this.#byKey = byKey;
  }

  /** Reads what the records' limits depend on; to be called under the intake's lock. */
  static async read(transaction: Executor, records: readonly IntakeRecord[], parts: IntakeLimitParts): Promise<IntakeLimits> {
    const subjects = new Set(records.flatMap(({ feedback, isImport }) => (isImport ? [] : (feedback.subject_id ?? []))));
    const keys = new Set(records.flatMap(({ feedback }) => feedback.sketch_key ?? []));
    return new IntakeLimits(
      parts,
      await countBySubject(transaction, [...subjects], parts),
      parts.areAlike === undefined ? new Map() : await sketchesByKey(transaction, [...keys], parts),
    );
  }

  /** The refusal of a person who gives too much at once; null where there is none. */
  refuse({ feedback, isImport }: IntakeRecord): OverloadedError | null {
    const subject = feedback.subject_id ?? null;
    if (isImport || subject === null) return null;
    const count = this.#bySubject.get(subject) ?? 0;
    const { maxPerMinute } = this.#parts.options;
    if (count >= maxPerMinute) {
      const message = `This person gave ${count} feedbacks within a minute; ${maxPerMinute} are taken (firewall.maxPerMinute). Nothing of this one was kept; send it again in a minute.`;
      return new OverloadedError("rate_limited", message, MINUTE_MS, { details: { maxPerMinute } });
    }
    this.#bySubject.set(subject, count + 1);
    return null;
  }

  /** Whether enough that is alike was accepted already; what is accepted counts from now on. */
  cluster({ feedback }: IntakeRecord): FirewallFinding | null {
    const { areAlike, options } = this.#parts;
    if (areAlike === undefined || feedback.status !== "accepted" || feedback.sketch_key == null) return null;
    const own = JSON.parse(feedback.sketch as string) as PairSketch;
    const others = this.#byKey.get(own.key) ?? [];
    this.#byKey.set(own.key, others);
    const alike = others.filter((other) => areAlike(own, other)).length;
    if (alike >= options.maxAlike) {
      const days = Math.round(options.alikeWindowMs / (24 * 60 * MINUTE_MS));
      return { code: "cluster", action: "review", reason: `${alike} that say nearly the same were accepted in the last ${days} days` };
    }
    others.push(own);
    return null;
  }
}

async function countBySubject(transaction: Executor, subjects: readonly string[], { pipeline, clock }: IntakeLimitParts) {
  const counts = new Map<string, number>();
  if (subjects.length === 0) return counts;
  const rows = await transaction
    .selectFrom("feedback")
    .select(["subject_id", ({ fn }) => fn.countAll<string>().as("count")])
    .where("pipeline", "=", pipeline)
    .where("subject_id", "in", subjects)
    .where("created_at", ">", new Date(clock() - MINUTE_MS))
    .groupBy("subject_id")
    .execute();
  for (const row of rows) counts.set(row.subject_id as string, Number(row.count));
  return counts;
}

async function sketchesByKey(transaction: Executor, keys: readonly string[], { pipeline, options, clock }: IntakeLimitParts) {
  const sketches = new Map<string, PairSketch[]>();
  if (keys.length === 0) return sketches;
  const { rows } = await sql<{ key: string; sketch: PairSketch }>`
    select keys.key, latest.sketch from unnest(${[...keys]}::text[]) as keys (key)
    cross join lateral (
      select sketch from clara.feedback
      where pipeline = ${pipeline} and sketch_key = keys.key and status = 'accepted' and created_at > ${new Date(clock() - options.alikeWindowMs)}
      order by created_at desc limit ${MAX_COMPARED}
    ) latest`.execute(transaction);
  for (const { key, sketch } of rows) {
    const known = sketches.get(key);
    if (known === undefined) sketches.set(key, [sketch]);
    else known.push(sketch);
  }
  return sketches;
}
