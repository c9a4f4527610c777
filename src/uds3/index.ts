/** `clara-sdk/uds3`: your own PostgreSQL, Chroma and Neo4j, searched as one and written together. */
export type {
  ChromaAnswer,
  ChromaCollection,
  ChromaConnection,
  ChromaQuery,
  Neo4jConnection,
  Neo4jSession,
  Uds3Connections,
} from "./clients.js";
export { uds3FromEnvironment } from "./from-environment.js";
export type { Fusion } from "./fusion.js";
export type { SearchPart } from "./leg.js";
export type { Uds3Mapping } from "./mapping.js";
export type { MissingPart, SearchReport } from "./search.js";
export { Uds3, type Uds3Options, type Uds3Settings } from "./uds3.js";
export type { EntityExtractor } from "./writes/document-record.js";
