/**
 * An application that learns, made to die: `crashing-app.ts DATABASE FOLDER DOMAIN FEEDBACK_FILE [FAILPOINT]`. Prints each acknowledged feedback, and
 * `ended STATUS` when its domain's cycle has ended. At the failpoint it kills itself with SIGKILL.
 */
import { appendFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { sql } from "kysely";
import { openStore } from "../../../src/store/index.js";
import type { FeedbackInput } from "../../../src/types/index.js";
import { buildRooms } from "./rooms.js";

const [database = "", folder = "", domain = "", file = "", failpoint = ""] = process.argv.slice(2);
const store = await openStore({ database: database.startsWith("postgres") ? database : { dataDir: database } });
const { pipeline } = buildRooms(
  store,
  {
    name: domain,
    leaseMs: 1_000,
    failpoint: (name) => {
      if (name === failpoint) process.kill(process.pid, "SIGKILL");
    },
  },
  folder,
);
await pipeline.recover();
await expectLivePassed();
process.stdout.write("ready\n");
const inputs = JSON.parse(readFileSync(file, "utf8")) as FeedbackInput[];
for (let start = 0; start < inputs.length; start += 10) {
  await Promise.all(
    inputs.slice(start, start + 10).map(async (input) => {
      const receipt = await pipeline.addFeedback(input);
      // what the application remembers as acknowledged; the file outlives it
      appendFileSync(join(folder, "acknowledged.txt"), `${input.idempotencyKey} ${receipt.id}\n`);
    }),
  );
}
process.stdout.write("fed\n");
await pipeline.start();
let [cycle] = await pipeline.listCycles();
if (cycle === undefined) cycle = await pipeline.triggerTrainingCycle({ domain });
const { status } = await pipeline.waitForCycle(cycle.id);
await pipeline.stop();
await expectLivePassed();
process.stdout.write(`ended ${status} ${JSON.stringify(await pipeline.ledger())}\n`);
await store.close();

/** Whatever moment the last process was killed at, what serves passed its gate. */
async function expectLivePassed(): Promise<void> {
  const live = await store.db
    .selectFrom("adapters")
    .select("id")
    .where("domain", "=", domain)
    .where("status", "in", ["active", "canary"])
    .execute();
  const passed = await store.db
    .selectFrom("cycles")
    .select("adapter_id")
    .where("domain", "=", domain)
    .where(sql<boolean>`gate->>'decision' = 'promote'`)
    .execute();
  const unproven = live.filter(({ id }) => !passed.some(({ adapter_id }) => adapter_id === id));
  if (unproven.length > 0) throw new Error(`${unproven.map(({ id }) => id).join(", ")} serves and passed no gate`);
}
