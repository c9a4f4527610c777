/**
 * A second process for the registry's tests: `activate.ts DATABASE_URL NAME COUNT`. Waits for a line on standard input, then
 * registers and activates COUNT versions of NAME, printing each id.
 */
import { once } from "node:events";
import { SqlAdapterRegistry } from "../../../src/router/index.js";
import { openStore } from "../../../src/store/index.js";

const [database, name, count] = process.argv.slice(2) as [string, string, string];
const store = await openStore({ database });
const registry = new SqlAdapterRegistry({ store });
process.stdout.write("ready\n");
await once(process.stdin, "data");
for (let index = 0; index < Number(count); index++) {
  const { id } = await registry.register({ name, domain: name, path: `adapters/${name}`, baseModel: "tiny" });
  await registry.activate(id, { reason: `process ${process.pid}` });
  process.stdout.write(`activated ${id}\n`);
}
await store.close();
process.exit();
