import { sql } from "kysely";
import type { Executor } from "../../store/store.js";
import { SearchSettings } from "../../types/index.js";

/** Whose searches settings are for; left out: everybody's, every domain. */
export interface TunedScope {
  tenant?: string;
  domain?: string;
}

/** What stands for "everybody's" and "every domain" in the table. */
const ANY = "";

/** Keeps what tuning found, for this and every other process. */
export async function saveTunedSettings(
  executor: Executor,
  { tenant, domain }: TunedScope,
  settings: Required<SearchSettings>,
): Promise<void> {
  const tuned = { settings: JSON.stringify(settings), tuned_at: new Date() };
  await executor
    .insertInto("corpus_search_settings")
    .values({ tenant: tenant ?? ANY, domain: domain ?? ANY, ...tuned })
    .onConflict((conflict) => conflict.columns(["tenant", "domain"]).doUpdateSet(tuned))
    .execute();
}

/** Those of the tenant go before everybody's, and of these those of the domain before every domain's; null where nothing was tuned. */
export async function readTunedSettings(executor: Executor, { tenant, domain }: TunedScope): Promise<Required<SearchSettings> | null> {
  const row = await executor
    .selectFrom("corpus_search_settings")
    .select("settings")
    .where("tenant", "in", [tenant ?? ANY, ANY])
    .where("domain", "in", [domain ?? ANY, ANY])
    .orderBy(sql`tenant = ${ANY}`)
    .orderBy(sql`domain = ${ANY}`)
    .limit(1)
    .executeTakeFirst();
  return row ? SearchSettings.required().parse(row.settings) : null;
}

/** Forgets the settings of exactly this scope; false where there were none. */
export async function forgetTunedSettings(executor: Executor, { tenant, domain }: TunedScope): Promise<boolean> {
  const forgotten = await executor
    .deleteFrom("corpus_search_settings")
    .where("tenant", "=", tenant ?? ANY)
    .where("domain", "=", domain ?? ANY)
    .executeTakeFirst();
  return forgotten.numDeletedRows > 0n;
}
