import { sql } from "kysely";
import type { Store } from "../../store/store.js";
import { contentHash, lessonOf } from "../verdict.js";
import type { Firewall } from "./firewall.js";

/** Newest feedback of a person that is looked at. */
const MAX_LOOKED_AT = 100;
/** Codes whose rejection says that the person was wrong; the others are about length, wording, or how much there was of it. */
const WRONG = new Set(["contradicts_gold", "disputed", "prompt_injection", "trigger_probe"]);

/** How often a person was right and wrong. */
export interface Evidence {
  right: number;
  wrong: number;
}

/** What trusted answers and reviewers say of a person. */
export interface TrackRecord extends Evidence {
  /** The feedback it rests on. */
  ids: Set<string>;
}

/** Whose record it is. */
export interface Person {
  key: string;
  subject: string;
  tenant: string | null;
}

/**
 * How far a person's word is trusted, 0..1: the mean of a Beta distribution over how often they are right, of which nothing is known at first (Jøsang and
 * Ismail, "The Beta reputation system", 2002). Of a newcomer it is one half.
 */
export function reputationOf({ right, wrong }: Evidence): number {
  return (1 + right) / (2 + right + wrong);
}

interface RecordRow {
  key: string;
  id: string;
  domain: string;
  prompt: string;
  response: string;
  correction: string | null;
  rating: number;
  status: string;
  code: string | null;
  content_hash: string | null;
  is_decided: boolean;
}

/** Reads what people gave since a moment, where a reviewer decided it or a trusted answer is known; a reviewer's word counts before the trusted answer. */
export async function readTrackRecords(
  store: Store,
  request: { pipeline: string; people: readonly Person[]; since: Date; hasGold: boolean; agreesWithGold: Firewall["agreesWithGold"] },
): Promise<Map<string, TrackRecord>> {
  const { pipeline, people, since, hasGold, agreesWithGold } = request;
  const records = new Map<string, TrackRecord>();
  if (people.length === 0) return records;
  const { rows } = await sql<RecordRow>`
    select people.key, given.* from json_to_recordset(${JSON.stringify(people)}::json) as people (key text, subject text, tenant text)
    cross join lateral (
      select id, domain, prompt, response, correction, rating, status, code, content_hash, decided_at is not null as is_decided
      from clara.feedback
      where subject_id = people.subject and pipeline = ${pipeline} and created_at > ${since}
        and metadata->>'tenant' is not distinct from people.tenant
        and prompt is not null and response is not null and erased_at is null
        and (decided_at is not null or (${hasGold} and status <> 'rejected'))
      order by created_at desc limit ${MAX_LOOKED_AT}) given`.execute(store.db);
  for (const row of rows) {
    const isRight = row.is_decided ? rightByReview(row) : rightByGold(row, agreesWithGold);
    if (isRight === null) continue;
    const record = records.get(row.key) ?? { right: 0, wrong: 0, ids: new Set() };
    records.set(row.key, record);
    record.ids.add(row.id);
    if (isRight) record.right++;
    else record.wrong++;
  }
  return records;
}

/** Null where a reviewer wrote another answer, or refused it for a reason that is not the person's. */
function rightByReview({ status, code, content_hash, domain, ...feedback }: RecordRow): boolean | null {
  if (status === "rejected") return code !== null && WRONG.has(code) ? false : null;
  const { objective, answer } = lessonOf({ ...feedback, correction: feedback.correction ?? undefined });
  return content_hash === null || content_hash === contentHash(objective, feedback.prompt, answer, domain) ? true : null;
}

function rightByGold({ prompt, rating, ...feedback }: RecordRow, agreesWithGold: Firewall["agreesWithGold"]): boolean | null {
  const lesson = lessonOf({ ...feedback, rating, correction: feedback.correction ?? undefined });
  return agreesWithGold(prompt, { ...lesson, rating });
}
