import { sql } from "kysely";
import type { Executor } from "../store/store.js";
import type { PairSketch } from "../types/feedback.js";
import { isVersion, versionsUpTo } from "./amendment.js";
import { countWaiting } from "./buffer.js";
import type { IntakeRecord } from "./feedback-rows.js";
import type { IntakeLimitParts } from "./firewall/intake-limits.js";
import { keyWithin } from "./tenants.js";

const MINUTE_MS = 60_000;
/** Sketches of one key that are compared with; a key with more says little by itself. */
const MAX_COMPARED = 500;

/** What an idempotency key stands for; its texts are null where they were never read or were erased. */
export interface KnownFeedback {
  id: string;
  status: string;
  said: [prompt: string, response: string, correction: string | null, rating: number] | null;
}

/** What the decisions on a group depend on; each decision is noted for those after it. */
export interface IntakeFacts {
  byKey: Map<string, KnownFeedback>;
  /** Ids by content hash. */
  byContent: Map<string, string>;
  /** The present version of feedback that is to be replaced and was replaced already. */
  replacedBy: Map<string, string>;
  /** Feedback that is to be replaced, with the versions before it. */
  versions: Map<string, Set<string>>;
  /** Samples that wait, by domain. */
  waiting: Map<string, number>;
  /** Feedback of the last minute, by person within a tenant. */
  bySubject: Map<string, number>;
  sketches: Map<string, PairSketch[]>;
}

interface FactRows {
  keys:
    | [key: string, id: string, status: string, prompt: string | null, response: string | null, correction: string | null, rating: number][]
    | null;
  contents: [hash: string, id: string][] | null;
  replaced: [old: string, id: string][] | null;
  versions: [version: string, id: string][] | null;
  waiting: [domain: string, count: number][] | null;
  subjects: [subject: string, domain: string, count: number][] | null;
  sketches: [key: string, sketch: PairSketch][] | null;
}

/** Reads all of it in one statement, for each costs a round trip; to be called under the intake's lock. */
export async function readIntakeFacts(
  transaction: Executor,
  records: readonly IntakeRecord[],
  { pipeline, options, areAlike, clock }: IntakeLimitParts,
): Promise<IntakeFacts> {
  const distinct = (of: (record: IntakeRecord) => string | null | undefined) => [...new Set(records.flatMap((record) => of(record) ?? []))];
  const keys = distinct(({ feedback }) => feedback.idempotency_key);
  const hashes = distinct(({ feedback }) => feedback.content_hash);
  const replaced = distinct(({ feedback }) => feedback.replaces);
  const domains = distinct(({ feedback, sample }) => (sample?.objective === "imitate" ? feedback.domain : null));
  const subjects = distinct(({ feedback, isImport }) => (isImport ? null : feedback.subject_id));
  const sketchKeys = areAlike === undefined ? [] : distinct(({ feedback }) => feedback.sketch_key);
  const { rows } = await sql<FactRows>`select
    (select json_agg(json_build_array(idempotency_key, id, status, prompt, response, correction, rating)) from clara.feedback
      where idempotency_key = any(${keys}::text[]) and pipeline = ${pipeline}) as keys,
    (select json_agg(json_build_array(content_hash, id)) from clara.feedback
      where content_hash = any(${hashes}::text[]) and pipeline = ${pipeline} and status in ('accepted', 'review')) as contents,
    ${replaced.length === 0 ? sql`null as replaced, null as versions` : versionFacts(pipeline, replaced)},
    (select json_agg(json_build_array(domain, count)) from (${countWaiting(pipeline, domains)}) waiting) as waiting,
    (select json_agg(json_build_array(subject_id, domain, count)) from (
      select subject_id, domain, count(*) from clara.feedback
      where subject_id = any(${subjects}::text[]) and pipeline = ${pipeline} and created_at > ${new Date(clock() - MINUTE_MS)}
      group by subject_id, domain) counted) as subjects,
    (select json_agg(json_build_array(keys.key, latest.sketch)) from unnest(${sketchKeys}::text[]) as keys (key) cross join lateral (
      select sketch from clara.feedback
      where sketch_key = keys.key and pipeline = ${pipeline} and status = 'accepted' and created_at > ${new Date(clock() - options.alikeWindowMs)}
      order by created_at desc limit ${MAX_COMPARED}) latest) as sketches`.execute(transaction);
  const found = rows[0]!;
  const bySubject = new Map<string, number>();
  for (const [subject, domain, count] of found.subjects ?? []) {
    const key = keyWithin(domain, subject);
    bySubject.set(key, (bySubject.get(key) ?? 0) + count);
  }
  const sketches = Map.groupBy(found.sketches ?? [], ([key]) => key);
  return {
    byKey: new Map(
      found.keys?.map(([key, id, status, prompt, response, correction, rating]) => [
        key,
        { id, status, said: prompt === null || response === null ? null : [prompt, response, correction, rating] },
      ]),
    ),
    byContent: new Map(found.contents),
    replacedBy: new Map(found.replaced),
    versions: new Map(
      [...Map.groupBy(found.versions ?? [], ([version]) => version)].map(([version, rows]) => [version, new Set(rows.map(([, id]) => id))]),
    ),
    waiting: new Map(found.waiting),
    bySubject,
    sketches: new Map([...sketches].map(([key, ofKey]) => [key, ofKey.map(([, sketch]) => sketch)])),
  };
}

function versionFacts(pipeline: string, replaced: readonly string[]) {
  return sql`
    (select json_agg(json_build_array(replaces, id)) from clara.feedback
      where replaces = any(${replaced}::text[]) and pipeline = ${pipeline} and ${isVersion}) as replaced,
    (select json_agg(json_build_array(version, id)) from (${versionsUpTo(replaced)}) versions) as versions`;
}
