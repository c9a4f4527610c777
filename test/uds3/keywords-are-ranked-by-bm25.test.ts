import { randomUUID } from "node:crypto";
import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Uds3, type Uds3Mapping } from "../../src/uds3/index.js";
import { resolveMapping } from "../../src/uds3/mapping.js";
import { setUpPostgres } from "../../src/uds3/setup.js";
import { createDatabase, type TestDatabase } from "../setup/index.js";

let database: TestDatabase;
let pool: pg.Pool;

beforeAll(async () => {
  database = await createDatabase();
  pool = new pg.Pool({ connectionString: database.url, max: 4 });
});
afterAll(async () => {
  await pool.end();
  await database.drop();
});

interface Row {
  id: string;
  title?: string;
  content: string;
}

const other = "und es wird noch manches über andere Dinge gesagt, die hier keine Rolle spielen";

/** A table of its own as `setup()` makes it, and the ids that a search of its words gives beside those of plain `ts_rank_cd`. */
async function tableWith(rows: readonly Row[]) {
  const table = `documents_${randomUUID().slice(0, 8)}`;
  const mapping: Uds3Mapping = { postgres: { table } };
  await setUpPostgres(new Kysely({ dialect: new PostgresDialect({ pool }) }), resolveMapping(mapping).postgres);
  await pool.query(`insert into ${table} (document_id, title, content) select * from unnest($1::text[], $2::text[], $3::text[])`, [
    rows.map(({ id }) => id),
    rows.map(({ title }) => title ?? null),
    rows.map(({ content }) => content),
  ]);
  await pool.query(`analyze ${table}`);
  const uds3 = onlyPostgres(pool, mapping);
  return {
    scores: async (queryText: string, topK = 10) =>
      new Map((await uds3.search({ queryText, topK, searchTypes: ["keyword"] })).map(({ id, score }) => [id, score])),
    byCoverDensity: async (query: string) => {
      const { rows } = await pool.query(
        `select document_id from ${table}, to_tsquery('german', $1) query where search_german @@ query
         order by ts_rank_cd('{0.5, 0.6, 0.8, 1.0}', search_german, query, 32) desc, document_id`,
        [query],
      );
      return rows.map(({ document_id }) => document_id as string);
    },
  };
}

/** The other two are never asked. */
function onlyPostgres(postgres: pg.Pool | string, mapping: Uds3Mapping): Uds3 {
  return new Uds3({ postgres, chroma: "http://127.0.0.1:1", neo4j: { url: "bolt://127.0.0.1:1" }, mapping, legTimeoutMs: 30_000 });
}

test("a rare word counts more than a common one that is repeated, which ts_rank_cd has the other way round", async () => {
  const { scores, byCoverDensity } = await tableWith([
    { id: "common", content: `Ein Antrag, der Antrag, den Antrag, zum Antrag, vom Antrag und noch ein Antrag, ${other}` },
    { id: "rare", content: `Die Kapelle ist offen, ${other}` },
    ...Array.from({ length: 30 }, (_, index) => ({ id: `filler-${index}`, content: `Der Antrag Nummer ${index}, ${other}` })),
  ]);
  expect((await byCoverDensity("antrag | kapelle"))[0]).toBe("common");
  expect([...(await scores("Anträge für Kapellen")).keys()].slice(0, 2)).toEqual(["rare", "common"]);
});

test("a word counts less the longer the document is, which ts_rank_cd does not know", async () => {
  const words = Array.from({ length: 400 }, (_, index) => `Wort${index}`).join(" ");
  const { scores, byCoverDensity } = await tableWith([
    { id: "long", content: `Die Kapelle und noch eine Kapelle, ${words}` },
    { id: "short", content: `Die Kapelle ist offen, ${other}` },
    ...Array.from({ length: 30 }, (_, index) => ({ id: `filler-${index}`, content: `Die Nummer ${index}, ${other}` })),
  ]);
  expect(await byCoverDensity("kapelle")).toEqual(["long", "short"]);
  expect([...(await scores("Kapelle")).keys()]).toEqual(["short", "long"]);
});

test("another mention and a title raise a score, which stays below 1 and is the same whatever topK is", async () => {
  const { scores } = await tableWith([
    { id: "once", content: `Die Kapelle ist offen, ${other}` },
    { id: "often", content: `Die Kapelle ist eine Kapelle und bleibt eine Kapelle, ${other}` },
    { id: "titled", title: "Kapelle", content: `Sie ist offen, ${other}` },
    ...Array.from({ length: 150 }, (_, index) => ({ id: `filler-${index}`, content: `Der Kessel Nummer ${index}, ${other}` })),
  ]);
  const found = await scores("Kapellen");
  expect([...found.keys()].sort()).toEqual(["often", "once", "titled"]);
  expect(found.get("often")).toBeGreaterThan(found.get("titled")!);
  expect(found.get("titled")).toBeGreaterThan(found.get("once")!);
  for (const score of found.values()) expect(score).toSatisfy((value: number) => value > 0 && value < 1);
  const few = await scores("Kapelle Kessel", 1);
  expect(few.get("often")).toBe((await scores("Kapelle Kessel", 500)).get("often"));
});

test("the best of many documents with the same words comes first, wherever its id stands among them", async () => {
  const { scores } = await tableWith([
    ...Array.from({ length: 300 }, (_, index) => ({ id: `a-${index}`, content: `Die Kapelle Nummer ${index}, ${other}` })),
    { id: "z", title: "Kapelle", content: `Die Kapelle ist eine Kapelle und bleibt eine Kapelle, ${other}` },
  ]);
  expect([...(await scores("Kapelle", 1)).keys()]).toEqual(["z"]);
});

test("reading the mapped table is all that it takes, with names and vectors of the user's own", async () => {
  const role = `reader_${randomUUID().slice(0, 8)}`;
  await pool.query(`
    create schema archive;
    create table archive.akten (aktenzeichen bigint primary key, inhalt text, suche tsvector);
    insert into archive.akten values
      (1, 'Der Antrag', strip(to_tsvector('german', 'Der Antrag, ein Antrag'))),
      (2, 'Die Kapelle', strip(to_tsvector('german', 'Die Kapelle'))),
      (3, 'Der zweite Antrag', to_tsvector('german', 'Der zweite Antrag'));
    create role ${role} login password 'reader';
    grant usage on schema archive to ${role};
    grant select on archive.akten to ${role}`);
  const url = new URL(database.url);
  url.username = role;
  url.password = "reader";
  const nothing = { title: null, documentType: null, domain: null, source: null, language: null, date: null };
  const columns = { ...nothing, id: "aktenzeichen", content: "inhalt", quality: null, metadata: null, contentLength: null };
  const uds3 = onlyPostgres(url.href, {
    postgres: { schema: "archive", table: "akten", columns, textSearch: { german: "suche" }, fixedValues: {} },
  });
  try {
    const results = await uds3.search({ queryText: "Anträge der Kapelle", searchTypes: ["keyword"] });
    expect(results.map(({ id, content }) => [id, content])).toEqual([
      ["2", "Die Kapelle"],
      ["1", "Der Antrag"],
      ["3", "Der zweite Antrag"],
    ]);
  } finally {
    await uds3.close();
    await pool.query(`drop owned by ${role}; drop role ${role}`);
  }
});
