/** Fills UDS3's table: `load.ts DATABASE SIZE` with made documents, `load.ts DATABASE FOLDER` with Cranfield's. Run by ../bench.ts. */
import { documents } from "../corpus.ts";
import { readCranfield } from "../cranfield.ts";
import { openKeywords } from "./keywords.ts";

const [database, source] = process.argv.slice(2) as [string, string];
const keywords = openKeywords(database);
try {
  await keywords.load(/^\d+$/.test(source) ? [...documents(Number(source))] : (await readCranfield(source)).documents);
} finally {
  await keywords.close();
}
