import { AbortedError } from "../../errors.js";
import type { Store } from "../../store/store.js";
import type { ImportParts } from "./import-dataset.js";

/** Looks up the texts of served generations; null where there is none, or where its texts were not stored. */
export function generationsOf(store: Store): ImportParts["generation"] {
  return async (id, { signal }) => {
    if (signal?.aborted) throw new AbortedError();
    const row = await store.db.selectFrom("generations").select(["prompt", "response", "domain"]).where("id", "=", id).executeTakeFirst();
    if (!row || row.prompt === null || row.response === null) return null;
    return { prompt: row.prompt, response: row.response, ...(row.domain === null ? {} : { domain: row.domain }) };
  };
}
