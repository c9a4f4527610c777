import type { Sample } from "../../types/feedback.js";
import { toSample } from "../feedback-rows.js";
import type { StageContext } from "./stage.js";

/** The samples that the cycle claimed, oldest first, without what was erased meanwhile. */
export async function readBatch(context: Pick<StageContext, "store" | "cycle">): Promise<Sample[]> {
  const rows = await context.store.db
    .selectFrom("samples")
    .selectAll()
    .where("cycle_id", "=", context.cycle.id)
    .where("state", "=", "claimed")
    .orderBy("created_at")
    .orderBy("id")
    .execute();
  return rows.filter((row) => row.prompt !== "" || row.response !== "").map(toSample);
}
