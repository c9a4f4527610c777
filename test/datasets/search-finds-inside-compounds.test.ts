import { sql } from "kysely";
import { beforeAll, expect, it } from "vitest";
import { DatasetManager } from "../../src/datasets/index.js";
import type { Store } from "../../src/store/index.js";
import { describeEachDatabase } from "../setup/index.js";

describeEachDatabase("keyword search of German compounds", (harness) => {
  let store: Store;
  let datasets: DatasetManager;
  const find = async (queryText: string, filters: object = {}) => datasets.search({ queryText, searchTypes: ["keyword"], filters });
  const idsOf = async (queryText: string, filters: object = {}) =>
    (await find(queryText, filters)).map(({ metadata }) => metadata.documentId);
  beforeAll(async () => {
    store = await harness.open();
    datasets = new DatasetManager({ store });
    await datasets.addDocuments([
      { id: "bau", content: "Die Baugenehmigung wird von der Behörde erteilt, wenn der Plan es erlaubt.", domain: "recht" },
      { id: "abfall", content: "Die Abfallgebührensatzung der Stadt regelt, was die Abholung der Tonne kostet.", domain: "stadt" },
      { id: "anlage", content: "Eine Photovoltaikanlage auf dem Dach ist der Behörde nur zu melden.", domain: "recht" },
      { id: "antrag", content: "Der Antrag ist schriftlich zu stellen; ein Bauantrag ist das auch für den Umbau.", domain: "recht" },
      { id: "amtlich", content: "Auch der Umbauantrag wird von der Behörde geprüft und dann genehmigt oder nicht.", domain: "recht" },
      { id: "english", content: "The word Baugenehmigung is what they call the permit for a building in German.", language: "english" },
    ]);
  });

  it("finds a word inside longer ones where the database has pg_trgm, whatever its ending", async () => {
    const hasTrigrams = store.capabilities.trigram;
    for (const queryText of ["Genehmigung", "welche GENEHMIGUNGEN?"]) expect(await idsOf(queryText)).toEqual(hasTrigrams ? ["bau"] : []);
    expect(await idsOf("Gebühren")).toEqual(hasTrigrams ? ["abfall"] : []);
    expect(await idsOf("Anlagen")).toEqual(hasTrigrams ? ["anlage"] : []);
    if (hasTrigrams) expect((await find("Anlagen"))[0]!.reasons).toEqual(["keyword: …anlag…"]);
  });

  it("looks inside longer words only for what no text has alone", async () => {
    expect(await idsOf("Antrag")).toEqual(["antrag"]);
  });

  it("keeps the filters and the language of the text", async () => {
    expect(await idsOf("Genehmigung", { domain: "stadt" })).toEqual([]);
    expect(await idsOf("Genehmigung", { domain: "general" })).toEqual([]);
  });

  it("ranks a text that has the word above one that has it inside another", async () => {
    const scores = await find("Behörde Anlagen Tonne");
    expect(scores.every(({ score }) => score <= 1)).toBe(true);
    if (!store.capabilities.trigram) return expect(scores[0]!.metadata.documentId).toBe("abfall");
    expect(
      scores
        .map(({ metadata }) => metadata.documentId)
        .slice(0, 2)
        .sort(),
    ).toEqual(["abfall", "anlage"]);
  });

  it("has an index for it that the planner can use", async () => {
    const { rows } = await sql<{ found: boolean }>`select to_regclass('clara.corpus_chunk_trigram') is not null as found`.execute(store.db);
    expect(rows[0]!.found).toBe(store.capabilities.trigram);
    if (!store.capabilities.trigram) return;
    const plan = await store.db.transaction().execute(async (transaction) => {
      await sql`set local enable_seqscan = off`.execute(transaction);
      // On a few texts, the index over their languages is as good.
      await sql`drop index clara.corpus_chunk_language`.execute(transaction);
      const explained = await sql<Record<string, string>>`
        explain select id from clara.corpus_chunk chunk where language in ('pg_catalog.german'::regconfig, 'pg_catalog.simple'::regconfig)
          and (coalesce(title, '') || ' ' || content) ilike '%genehmigung%'`.execute(transaction);
      await sql`create index corpus_chunk_language on clara.corpus_chunk (language)`.execute(transaction);
      return explained;
    });
    expect(plan.rows.map((row) => row["QUERY PLAN"]).join("\n")).toContain("corpus_chunk_trigram");
  });
});
