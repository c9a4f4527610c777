import { beforeAll, expect, it } from "vitest";
import { DatasetManager } from "../../src/datasets/index.js";
import type { Store } from "../../src/store/index.js";
import { describeEachDatabase } from "../setup/index.js";

/** One text more must cost a database no statement more: with a round trip each, most of the time of a large load is waiting. */
describeEachDatabase("a batch of documents", (harness) => {
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });

  async function statementsOf(prefix: string, documents: number): Promise<number> {
    let statements = 0;
    const client = await store.pool.connect();
    const prototype = Object.getPrototypeOf(client) as { query(...args: unknown[]): unknown };
    client.release();
    const { query } = prototype;
    prototype.query = function (...args) {
      statements += 1;
      return query.apply(this, args);
    };
    try {
      const texts = Array.from({ length: documents }, (_, index) => ({
        id: `${prefix}-${index}`,
        content: `Die Satzung ${prefix} ${index} der Gemeinde regelt die Gebühren für den Friedhof und die Halle.`,
      }));
      expect(await new DatasetManager({ store }).addDocuments(texts)).toMatchObject({ added: documents });
    } finally {
      prototype.query = query;
    }
    return statements;
  }

  it("takes as many statements as one document", async () => {
    // The first call makes the index over parts of words.
    await statementsOf("first", 1);
    const one = await statementsOf("one", 1);
    expect(one).toBeGreaterThan(5);
    expect(await statementsOf("many", 64)).toBe(one);
  });
});
