import { sql } from "kysely";
import { afterAll, beforeAll, expect, it } from "vitest";
import { saidOf } from "../../src/pipeline/firewall/said-lately.js";
import type { Store } from "../../src/store/index.js";
import { describeEachStore } from "../setup/index.js";

describeEachStore("what people are compared by", (harness) => {
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });
  afterAll(async () => {
    await store.close();
  });

  it("is read along indexes, however much is stored", async () => {
    const plan = await store.db.transaction().execute(async (transaction) => {
      await sql`set local enable_seqscan = off`.execute(transaction);
      const read = saidOf({ pipeline: "default", domain: "building", since: new Date(0), limit: 10_000 });
      const { rows } = await sql<{ "QUERY PLAN": string }>`explain ${read}`.execute(transaction);
      return rows.map((row) => row["QUERY PLAN"]).join("\n");
    });
    expect(plan).toContain("feedback_domain");
    expect(plan).not.toContain("Seq Scan");
  });
});
