/**
 * Adds documents and kills itself before the Nth thing that it sends to a database: `ingest.ts '{"urls":…,"mapping":…,"documents":[…],"killBefore":N}'`.
 * Prints `finished` where it had fewer to send.
 */
import pg from "pg";
import { LexicalEmbedder } from "../../../src/embedders/lexical-embedder.js";
import { openStore } from "../../../src/store/index.js";
import type { DocumentInput } from "../../../src/types/index.js";
import { type Neo4jSession, Uds3, type Uds3Mapping } from "../../../src/uds3/index.js";

const { urls, mapping, documents, killBefore } = JSON.parse(process.argv[2] ?? "{}") as {
  urls: { postgres: string; chroma: string; neo4j: string };
  mapping: Uds3Mapping;
  documents: DocumentInput[];
  killBefore: number;
};

let sent = Number.NEGATIVE_INFINITY;
function sending(): void {
  sent += 1;
  if (sent === killBefore) process.kill(process.pid, "SIGKILL");
}
/** Calls `sending` before the method does what it does. */
function watch<T extends object>(owner: T, name: keyof T & string): void {
  const original = owner[name] as (...args: unknown[]) => unknown;
  owner[name] = function (this: unknown, ...args: unknown[]) {
    sending();
    return original.apply(this, args);
  } as T[typeof name];
}

watch(pg.Client.prototype, "query");
watch(globalThis, "fetch");
const { default: neo4jDriver } = await import("neo4j-driver");
const driver = neo4jDriver.driver(urls.neo4j);
const neo4j = {
  session: (options?: object): Neo4jSession => {
    const session = driver.session(options);
    return {
      run: session.run.bind(session),
      close: () => session.close(),
      executeWrite: async (work) => {
        const result = await session.executeWrite(async (transaction) => {
          const outcome = await work({
            run: (statement, parameters) => {
              sending();
              return transaction.run(statement, parameters);
            },
          });
          // What follows is the commit.
          sending();
          return outcome;
        });
        sending();
        return result;
      },
    };
  },
  close: () => driver.close(),
};

const store = await openStore({ database: urls.postgres });
const uds3 = new Uds3({ ...urls, neo4j, mapping, store, embedder: new LexicalEmbedder({ dimensions: 256 }) });
sent = 0;
await uds3.addDocuments(documents);
sent = Number.NEGATIVE_INFINITY;
await uds3.close();
await store.close();
await driver.close();
process.stdout.write("finished\n");
