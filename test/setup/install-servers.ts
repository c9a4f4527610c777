// Installs the test servers that take longest into the cache, so that no test waits for it: node --import ./scripts/ts-hooks.mjs test/setup/install-servers.ts
import { installChroma } from "./chroma-server.js";
import { installNeo4j } from "./neo4j-server.js";

await Promise.all([installChroma(), installNeo4j()]);
