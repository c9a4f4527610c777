import type { Store } from "../store/store.js";
import type { TrainResult } from "../types/runtime-protocol.js";
import type { TrainRequest } from "./build-spec.js";

/** Takes what people wrote out of jobs: rows to train and test on, answers given in tests, the fingerprint. Gives the number of jobs. */
export async function eraseTextsOfJobs(store: Store, ids: readonly string[]): Promise<number> {
  if (ids.length === 0) return 0;
  return store.db.transaction().execute(async (transaction) => {
    const rows = await transaction
      .selectFrom("training_jobs")
      .select(["id", "input", "result"])
      .where("id", "in", [...ids])
      .forUpdate()
      .execute();
    for (const { id, input, result } of rows) {
      const { replay: _replay, rehearsal: _rehearsal, regression: _regression, probes: _probes, ...kept } = input as TrainRequest;
      const { fingerprint: _fingerprint, ...figures } = (result ?? {}) as Partial<TrainResult>;
      await transaction
        .updateTable("training_jobs")
        .set({ input: JSON.stringify(kept), evaluation: null, ...(result === null ? {} : { result: JSON.stringify(figures) }) })
        .where("id", "=", id)
        .execute();
    }
    return rows.length;
  });
}
