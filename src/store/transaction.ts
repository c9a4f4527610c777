import type { Transaction } from "kysely";
import type { Database } from "./schema.js";
import type { Executor } from "./store.js";

/** Runs `work` in a transaction: the one that `executor` is in already, or a new one that commits when `work` resolves. */
export async function inTransaction<T>(executor: Executor, work: (transaction: Transaction<Database>) => Promise<T>): Promise<T> {
  if (executor.isTransaction) return work(executor as Transaction<Database>);
  return executor.transaction().execute(work);
}
