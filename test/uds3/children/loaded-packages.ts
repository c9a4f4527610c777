/** Imports the core and `clara-sdk/uds3`, makes a connector from addresses, reads a configuration, and prints the packages that were loaded by then: one JSON array a step. */
import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";

const packages = new Set<string>();
registerHooks({
  load(url, context, next) {
    const name = /node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!.*node_modules)/.exec(url)?.[1];
    if (name) packages.add(name);
    return next(url, context);
  },
});
const say = (): boolean => process.stdout.write(`${JSON.stringify([...packages])}\n`);

const { loadConfig } = await import("../../../src/index.js");
say();
const { Uds3 } = await import("../../../src/uds3/index.js");
const uds3 = new Uds3({ postgres: "postgres://127.0.0.1:9/x", chroma: "http://127.0.0.1:9", neo4j: { url: "bolt://127.0.0.1:9" } });
say();
await uds3.searchWithReport({ queryText: "x", searchTypes: ["graph"] }).catch(() => {});
say();
await uds3.close();
await loadConfig(fileURLToPath(new URL("../../config/fixtures/system_config.yaml", import.meta.url)));
say();
