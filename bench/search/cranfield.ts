/** The Cranfield collection: 1,400 abstracts, 225 queries, graded judgements (gain = 5 − code). */
import { readFile } from "node:fs/promises";
import { join } from "node:path";

export interface Cranfield {
  documents: { id: string; title: string; content: string }[];
  queries: { queryText: string; gains: Map<string, number> }[];
}

export async function readCranfield(folder: string): Promise<Cranfield> {
  const [texts, questions, judgements] = await Promise.all(
    ["cran.all.1400", "cran.qry", "cranqrel"].map((name) => readFile(join(folder, "cranfield", name), "latin1")),
  );
  const documents = records(texts as string).flatMap((fields) => {
    const content = fields.get("W") ?? "";
    return content === "" ? [] : [{ id: fields.get("I") as string, title: fields.get("T") ?? "", content }];
  });
  // Judgements name a query by its place in the file, not by its number there.
  const queries = records(questions as string).map((fields) => ({ queryText: fields.get("W") ?? "", gains: new Map<string, number>() }));
  for (const line of (judgements as string).trim().split("\n")) {
    const [query, document, code] = line.trim().split(/\s+/).map(Number) as [number, number, number];
    if (code >= 1 && code <= 4) queries[query - 1]?.gains.set(String(document), 5 - code);
  }
  return { documents, queries: queries.filter(({ gains }) => gains.size > 0) };
}

function records(text: string): Map<string, string>[] {
  return text
    .split(/^\.I\s+/m)
    .slice(1)
    .map((record) => {
      const [number, ...lines] = record.split("\n") as [string, ...string[]];
      const fields = new Map([["I", String(Number(number))]]);
      let field = "";
      for (const line of lines) {
        const heading = /^\.([TABW])\s*$/.exec(line);
        if (heading) field = heading[1] as string;
        else fields.set(field, `${fields.get(field) ?? ""} ${line}`.trim());
      }
      return fields;
    });
}
