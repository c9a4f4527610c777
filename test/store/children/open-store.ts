/**
 * A second process for the storage tests: `open-store.ts '{"dataDir":…}' | '"postgres://…"' [command]`. Prints one line a step.
 *
 *   hold       opens, then waits for standard input to end before it closes
 *   exit       opens, and leaves without closing
 *   journal    opens, appends entries for as long as it lives, printing each one's id once it is acknowledged
 *   insert     opens, and inserts rows of 20 in one transaction each for as long as it lives, printing each one's number once it is committed
 *   lock NAME  takes the named lock and holds it until standard input ends
 */
import { once } from "node:events";
import { sql } from "kysely";
import { openStore } from "../../../src/store/index.js";

const [database = '{"dataDir":".clara"}', command = "exit", name = "shared"] = process.argv.slice(2);
const say = (line: string) => new Promise<void>((resolve) => process.stdout.write(`${line}\n`, () => resolve()));

try {
  const store = await openStore({ database: JSON.parse(database) as string | { dataDir: string } });
  await say(`open ${process.pid}`);
  if (command === "hold") {
    await inputEnds();
    await store.close();
    await say("closed");
  } else if (command === "journal") {
    for (let id = 1; ; id += 1) {
      await store.journal!.append({ kind: "test", id: String(id), payload: { text: "x".repeat(300) } });
      await say(`acknowledged ${id}`);
    }
  } else if (command === "insert") {
    await store.pool.query("create table if not exists clara.batches (batch int, row int, text text)");
    for (let batch = 1; ; batch += 1) {
      await store.db.transaction().execute(async (transaction) => {
        for (let row = 1; row <= 20; row += 1) {
          await sql`insert into clara.batches values (${batch}, ${row}, ${"y".repeat(200)})`.execute(transaction);
        }
      });
      await say(`committed ${batch}`);
    }
  } else if (command === "lock") {
    await store.withLock(name, async () => {
      await say("locked");
      await inputEnds();
    });
    await say("released");
    await store.close();
  } else {
    await store.pool.query("select 1");
  }
} catch (error) {
  const { code, message } = error as { code?: string; message: string };
  await say(`error ${code} ${message}`);
  process.exitCode = 3;
}

async function inputEnds(): Promise<void> {
  process.stdin.resume();
  await once(process.stdin, "end");
}
