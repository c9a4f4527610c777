/**
 * A second process for the canaries' tests: `watch-canary.ts DATABASE_URL DOMAIN`. Routes a hundred people again and again, without any
 * re-reading by time, and prints the clock and how many of them get something else than before.
 */
import { setImmediate as turn } from "node:timers/promises";
import { AdapterRouter, SqlAdapterRegistry } from "../../../src/router/index.js";
import { openStore } from "../../../src/store/index.js";

const [database, domain] = process.argv.slice(2) as [string, string];
const store = await openStore({ database });
const router = new AdapterRouter({ registry: new SqlAdapterRegistry({ store }), refreshIntervalMs: 0 });
await router.refresh();
let before = "";
for (;;) {
  const counts: Record<string, number> = {};
  for (let person = 0; person < 100; person++) {
    const { adapterId } = await router.route("?", { domain, subjectId: `user-${person}` });
    counts[adapterId ?? "base"] = (counts[adapterId ?? "base"] ?? 0) + 1;
  }
  const now = JSON.stringify(counts);
  if (now !== before) process.stdout.write(`${Date.now()} ${now}\n`);
  before = now;
  await turn();
}
