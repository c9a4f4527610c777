// Documents in your own PostgreSQL, Chroma and Neo4j, found by one search. Run: POSTGRES_URL=… CHROMA_URL=… NEO4J_URL=… node uds3.ts
import { createClara } from "clara-sdk";

const {
  POSTGRES_URL = "postgres://127.0.0.1:5432/app",
  CHROMA_URL = "http://127.0.0.1:8000",
  NEO4J_URL = "bolt://127.0.0.1:7687",
} = process.env;
const { NEO4J_USER = "neo4j", NEO4J_PASSWORD } = process.env;

await using clara = await createClara({
  database: { dataDir: process.env.DATA_DIR ?? ".clara" },
  uds3: {
    postgres: POSTGRES_URL,
    chroma: CHROMA_URL,
    neo4j: { url: NEO4J_URL, auth: NEO4J_PASSWORD ? { user: NEO4J_USER, password: NEO4J_PASSWORD } : undefined },
    // a Neo4j that has just started takes a while for its first search
    legTimeoutMs: 30_000,
  },
});
await clara.uds3?.setup();
// what an earlier run left half written
await clara.uds3?.recover();

const { added, skipped } = await clara.datasets.addDocuments([
  {
    id: "building-code-58",
    title: "Baugenehmigung",
    content: "Die Baugenehmigung ist zu erteilen, wenn dem Vorhaben keine öffentlich-rechtlichen Vorschriften entgegenstehen.",
    documentType: "law",
    domain: "recht",
    metadata: { entities: ["Landesbauordnung", "Baurechtsbehörde"] },
  },
  {
    id: "solar-guide",
    title: "Photovoltaik auf Dächern",
    content: "Anlagen auf Häusern sind in der Regel verfahrensfrei, wenn sie dem Dach folgen und nicht darüber hinausragen.",
    documentType: "guide",
    domain: "recht",
    metadata: { entities: ["Landesbauordnung"] },
  },
]);
console.log(`documents: ${added} added, ${skipped} known`);

const question = { queryText: "Was regelt die Landesbauordnung?", topK: 2, filters: { domain: "recht" } };
for (const { id, score, scores } of await clara.datasets.search(question)) {
  console.log(`${id}: ${score.toFixed(2)} by ${Object.keys(scores).sort().join(", ")}`);
}

const report = await clara.uds3?.searchWithReport(question);
console.log(`missing: ${JSON.stringify(report?.missing)}`);
