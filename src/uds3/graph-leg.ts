import type { CallOptions } from "../types/index.js";
import type { Neo4jConnection } from "./clients.js";
import { CONTENT_LENGTH, type LegHit } from "./leg.js";
import { cypherName, type ResolvedMapping } from "./mapping.js";
import { filteredField, type Uds3Filters, type Uds3Query } from "./search-query.js";

type Neo4jMapping = ResolvedMapping["neo4j"];

/** Entities and documents whose names are followed at first; four times as many each time that too few documents were reached. */
const FIRST_SEEDS = 250;
const MOST_SEEDS = 16_000;
/** Words of a question that are looked up. */
const MOST_WORDS = 256;
/** What a name's match is worth one relation further on. */
const DECAY_PER_HOP = 0.5;

/**
 * Documents near the entities that the question's words name: each name found by the full-text index gives its score, halved a hop, to the
 * documents around it; the sum s becomes s / (1 + s), that is 0..1.
 */
export async function graphLeg(
  parts: { neo4j: Neo4jConnection; mapping: Neo4jMapping; deadlineMs: number },
  query: Uds3Query,
  { signal }: CallOptions = {},
): Promise<LegHit[]> {
  const { neo4j, mapping, deadlineMs } = parts;
  const words = wordsOf(query.queryText);
  const filters = filterParameters(query.filters, mapping);
  if (words === "") return [];
  const statement = graphStatement(mapping);
  const session = neo4j.session({ database: mapping.database, defaultAccessMode: "READ" });
  try {
    for (let seeds = FIRST_SEEDS; ; seeds *= 4) {
      const parameters = { filters, index: mapping.fullTextIndex, words, seeds, perLeg: query.perLeg, decay: DECAY_PER_HOP };
      const { records } = await session.run(statement, parameters, { timeout: deadlineMs });
      const { seedCount, documents } = records[0]!.toObject() as unknown as GraphAnswer;
      if (documents.length >= query.topK || seedCount < seeds || seeds >= MOST_SEEDS) return documents.map(toHit);
      signal?.throwIfAborted();
    }
  } finally {
    await session.close();
  }
}

/** Letters and digits in lower case: neither an operator nor a special character of the full-text query language is left. */
export function wordsOf(text: string): string {
  const words = text.toLowerCase().match(/[\p{L}\p{M}\p{N}]+/gu) ?? [];
  return [...new Set(words)].slice(0, MOST_WORDS).join(" ");
}

interface GraphAnswer {
  seedCount: number;
  documents: GraphDocument[];
}

interface GraphDocument {
  id: string;
  reached: number;
  title: string | null;
  content: string | null;
  documentType: string | null;
  domain: string | null;
  source: string | null;
  date: string | null;
  quality: number | null;
}

function toHit({ id, reached, content, title, documentType, domain, source, date, quality }: GraphDocument): LegHit {
  return {
    documentId: id,
    score: reached / (1 + reached),
    content,
    fields: { title, documentType, domain, source, date, quality },
  };
}

function graphStatement(mapping: Neo4jMapping): string {
  const { properties } = mapping;
  const relations = [...new Set([mapping.mentions, ...mapping.relations])].map(cypherName).join("|");
  const property = (name: string | null): string => (name === null ? "null" : `document.${cypherName(name)}`);
  const text = (name: string | null): string => `toString(${property(name)})`;
  // Numbers come as floats, for which the driver needs no types of its own; one row in any case, so that the count of seeds is known.
  return `
    CALL db.index.fulltext.queryNodes($index, $words, {limit: toInteger($seeds)}) YIELD node, score
    WITH collect({node: node, score: score}) AS seeds
    CALL (seeds) {
      UNWIND seeds AS seed
      WITH seed.node AS node, seed.score AS score
      CALL (node) {
        MATCH path = (node)-[:${relations}*0..${mapping.maxHops}]-(document:${cypherName(mapping.documentLabel)})
        WHERE ${filterCondition(mapping)}
        RETURN document, min(length(path)) AS hops ORDER BY hops LIMIT toInteger($perLeg)
      }
      WITH document, sum(score * $decay ^ hops) AS reached
      ORDER BY reached DESC, ${text(properties.id)} LIMIT toInteger($perLeg)
      RETURN collect({
        id: ${text(properties.id)}, reached: reached, content: left(${text(properties.content)}, ${CONTENT_LENGTH}),
        title: coalesce(${text(properties.title)}, ${text(properties.name)}),
        documentType: ${text(properties.documentType)}, domain: ${text(properties.domain)}, source: ${text(properties.source)},
        date: ${text(properties.date)}, quality: toFloat(${property(properties.quality)})
      }) AS documents
    }
    RETURN toFloat(size(seeds)) AS seedCount, documents`;
}

/** Filters as one map, null where there is none: one statement and one type of parameter for all of them, so that Neo4j plans it once. */
function filterParameters(filters: Uds3Filters, { properties }: Neo4jMapping): Record<string, string | number | null> {
  const parameter = <T>(name: string | null, filter: string, value: T | undefined): T | null => {
    if (value === undefined) return null;
    filteredField(name, filter, "Neo4j");
    return value;
  };
  return {
    documentType: parameter(properties.documentType, "documentType", filters.documentType),
    domain: parameter(properties.domain, "domain", filters.domain),
    minQuality: parameter(properties.quality, "minQuality", filters.minQuality),
    from: parameter(properties.date, "from", filters.from?.toISOString()),
    to: parameter(properties.date, "to", filters.isToExclusive ? undefined : filters.to?.toISOString()),
    before: parameter(properties.date, "to", filters.isToExclusive ? filters.to?.toISOString() : undefined),
  };
}

/** Conditions on `document`; a date is read only where one is asked for, so that what is no date harms no other search. */
function filterCondition({ properties }: Neo4jMapping): string {
  const conditions = [`document.${cypherName(properties.id)} IS NOT NULL`];
  const add = (name: string | null, parameter: string, write: (property: string) => string): void => {
    if (name !== null)
      conditions.push(`CASE WHEN $filters.${parameter} IS NULL THEN true ELSE ${write(`document.${cypherName(name)}`)} END`);
  };
  const moment = (property: string): string => `datetime(toString(${property}))`;
  add(properties.documentType, "documentType", (property) => `${property} = $filters.documentType`);
  add(properties.domain, "domain", (property) => `${property} = $filters.domain`);
  add(properties.quality, "minQuality", (property) => `${property} >= $filters.minQuality`);
  add(properties.date, "from", (property) => `${moment(property)} >= datetime($filters.from)`);
  add(properties.date, "to", (property) => `${moment(property)} <= datetime($filters.to)`);
  add(properties.date, "before", (property) => `${moment(property)} < datetime($filters.before)`);
  return conditions.join(" AND ");
}
