import { randomUUID } from "node:crypto";
import { sql } from "kysely";
import { notifyOthers } from "../store/notifications.js";
import type { Executor, Store } from "../store/store.js";
import type { CallOptions } from "../types/common.js";
import type { FirewallFinding } from "../types/feedback.js";
import type { PipelineEmitter } from "./events.js";
import { lockIntake } from "./intake-writer.js";
import { storableJson } from "./storable-text.js";

/** Accepted feedback that went to review before it was learnt, as the journal keeps it. */
export interface HoldRecord {
  pipeline: string;
  ids: string[];
  finding: FirewallFinding;
}

/** What looks at all that waits in a domain before a batch is chosen, and holds back what must not be in it. */
export interface BatchScreen {
  apply(domain: string, options?: CallOptions): Promise<void>;
}

/** Holds feedback of a domain back, durably, and tells it. */
export async function holdBack(
  { store, events }: { store: Store; events: PipelineEmitter },
  domain: string,
  record: HoldRecord,
): Promise<void> {
  const ids = await store.db.transaction().execute(async (transaction) => {
    await notifyOthers(transaction, "memory", "changed");
    return holdFeedback(transaction, record);
  });
  if (ids.length === 0) return;
  await store.journal?.append({ kind: "feedback-hold", id: randomUUID(), payload: { ...record, ids } satisfies HoldRecord });
  store.notifications.announce("memory", null);
  events.emit("feedback.held", { domain, ids, finding: record.finding });
}

/** Takes samples that wait back into review; what a person decided, or a cycle has tried, stays. Gives the ids that it took. */
export async function holdFeedback(transaction: Executor, { pipeline, ids, finding }: HoldRecord): Promise<string[]> {
  await lockIntake(transaction, pipeline);
  const { rows } = await sql<{ id: string }>`
    with held as (
      delete from clara.samples s using clara.feedback f
      where s.id = any(${ids}::text[]) and s.pipeline = ${pipeline} and s.state = 'waiting' and s.attempts = 0
        and f.id = s.id and f.status = 'accepted' and f.decided_at is null
      returning s.id)
    update clara.feedback f set status = 'review', code = ${finding.code}, reason = ${finding.reason},
      findings = f.findings || ${storableJson([finding])}::jsonb
    from held where f.id = held.id returning f.id`.execute(transaction);
  return rows.map((row) => row.id);
}
