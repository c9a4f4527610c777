import type { Neo4jConnection } from "../clients.js";
import { cypherName, type ResolvedMapping } from "../mapping.js";
import type { DocumentRecord } from "./document-record.js";

type Neo4jMapping = ResolvedMapping["neo4j"];

/** Marks the relations that were written here, so that a document's next text takes only those away. */
const OWN_RELATION = "clara_written";

/** Writes the documents, their entities and the relations between them in one transaction. */
export async function writeToNeo4j(neo4j: Neo4jConnection, mapping: Neo4jMapping, documents: readonly DocumentRecord[]): Promise<void> {
  const { properties } = mapping;
  const [label, entity, mentions] = [mapping.documentLabel, mapping.entityLabel, mapping.mentions].map(cypherName);
  const rows = documents.map((document) => ({
    id: document.id,
    properties: propertiesOf(document, mapping),
    entities: document.entities,
  }));
  const session = neo4j.session({ database: mapping.database });
  try {
    await session.executeWrite(async (transaction) => {
      await transaction.run(
        `UNWIND $rows AS row
         MERGE (document:${label} {${cypherName(properties.id)}: row.id})
         SET document += row.properties
         WITH document
         MATCH (document)-[old:${mentions}]->(:${entity}) WHERE old.${OWN_RELATION} DELETE old`,
        { rows },
      );
      await transaction.run(
        `UNWIND $rows AS row
         MATCH (document:${label} {${cypherName(properties.id)}: row.id})
         UNWIND row.entities AS name
         MERGE (entity:${entity} {${cypherName(properties.name)}: name})
         MERGE (document)-[relation:${mentions}]->(entity)
         ON CREATE SET relation.${OWN_RELATION} = true`,
        { rows },
      );
    });
  } finally {
    await session.close();
  }
}

/** Takes the documents away; entities stay, other documents may mention them. */
export async function removeFromNeo4j(neo4j: Neo4jConnection, mapping: Neo4jMapping, ids: readonly string[]): Promise<void> {
  const session = neo4j.session({ database: mapping.database });
  try {
    await session.executeWrite(async (transaction) => {
      await transaction.run(
        `UNWIND $ids AS id MATCH (document:${cypherName(mapping.documentLabel)} {${cypherName(mapping.properties.id)}: id}) DETACH DELETE document`,
        { ids: [...ids] },
      );
    });
  } finally {
    await session.close();
  }
}

function propertiesOf(document: DocumentRecord, { properties }: Neo4jMapping): Record<string, unknown> {
  const pairs: [name: string | null, value: unknown][] = [
    [properties.title, document.title],
    [properties.content, document.content],
    [properties.documentType, document.documentType],
    [properties.domain, document.domain],
    [properties.source, document.source],
    [properties.date, document.date],
    [properties.quality, document.quality],
  ];
  return Object.fromEntries(pairs.filter(([name]) => name !== null));
}
