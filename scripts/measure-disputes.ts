/**
 * Shows what comparing people with each other costs when a batch is chosen, on PostgreSQL with so many stored feedbacks of one domain, a
 * month's worth of them spread over ten years: reading what is compared, with the indexes it goes along, and all of the comparison. The last
 * 10,000 ask so many different questions; 500 of them wait.
 *
 *   npm run measure:disputes -- [--rows 1000000] [--questions 5000]
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { sql } from "kysely";
import { PipelineEmitter } from "../src/pipeline/events.js";
import { DisputeScreen } from "../src/pipeline/firewall/disputes.js";
import { Firewall } from "../src/pipeline/firewall/firewall.js";
import { FIREWALL_DEFAULTS } from "../src/pipeline/firewall/firewall-options.js";
import { saidOf } from "../src/pipeline/firewall/said-lately.js";
import { openStore } from "../src/store/index.js";
import { startServer, stopServers } from "../test/setup/postgres-server.js";

const { values } = parseArgs({ options: { rows: { type: "string", default: "1000000" }, questions: { type: "string", default: "5000" } } });
const [count, questions] = [Number(values.rows), Number(values.questions)];
const [pipeline, domain, capacity] = ["default", "building", 500];
const folder = await mkdtemp(join(tmpdir(), "clara-disputes-"));
const url = await startServer(folder, process.pid, "pgvector");
if (url === null) throw new Error("PostgreSQL did not start");
const store = await openStore({ database: url });
await sql`
  insert into clara.feedback (id, pipeline, status, domain, prompt, response, correction, rating, importance, subject_id, source, quality, metadata, created_at)
  select 'feedback-' || n, ${pipeline}, 'accepted', ${domain},
    format('Who is the %s of the %s %s?', (array['caretaker', 'owner', 'guardian', 'cleaner', 'gardener'])[1 + q % 5],
      (array['red', 'blue', 'old', 'new', 'small', 'tall', 'dark', 'bright', 'long', 'wide'])[1 + q / 5 % 10], 'house' || md5((q / 50)::text)),
    'I am not sure about that.', format('It is Mr Smith%s.', (q + case when n / ${questions}::int % 3 = 0 then 1 else 0 end) % 97), -1, 1, 'person-' || n % 1009, 'app', '{}', '{}',
    now() - (${count}::int - n) * interval '10 years' / ${count}::int
  from generate_series(1, ${count}::int) n, lateral (select (n * 7919::bigint % ${questions}::int)::int as q) picked`.execute(store.db);
await sql`
  insert into clara.samples (id, pipeline, domain, prompt, response, objective, rating, importance, subject_id, source, quality_score, state, created_at, state_changed_at)
  select id, pipeline, domain, prompt, correction, 'imitate', rating, importance, subject_id, source, 1,
    case when row_number() over (order by created_at desc) <= ${capacity} then 'waiting' else 'used' end, created_at, created_at
  from clara.feedback`.execute(store.db);
await sql`analyze clara.feedback, clara.samples`.execute(store.db);

const read = saidOf({ pipeline, domain, since: new Date(Date.now() - FIREWALL_DEFAULTS.disputeWindowMs), limit: capacity * 20 });
const explain = async () => {
  const { rows } = await sql<{ "QUERY PLAN": string }>`explain (analyze, costs off, timing off) ${read}`.execute(store.db);
  return rows.map((row) => row["QUERY PLAN"]);
};
await explain();
const plan = await explain();
console.log(plan.filter((line) => /Scan|Execution Time/.test(line)).join("\n"));
const events = new PipelineEmitter();
let held = 0;
events.on("feedback.held", ({ ids }) => {
  held += ids.length;
});
const firewall = new Firewall(FIREWALL_DEFAULTS, []);
const options = FIREWALL_DEFAULTS;
const screen = new DisputeScreen({ store, pipeline, firewall, embedder: undefined, options, capacity, events, clock: Date.now });
const [cpu, started] = [process.cpuUsage(), performance.now()];
await screen.apply(domain);
const { user, system } = process.cpuUsage(cpu);
const { rows } = await read.execute(store.db);
const asked = new Set(rows.map(({ prompt }) => prompt)).size;
console.log(`${count} stored, ${rows.length} compared, ${asked} different questions, ${held} held`);
console.log(`${((user + system) / 1000).toFixed(0)} ms of CPU in this process, ${(performance.now() - started).toFixed(0)} ms in all`);
await store.close();
await stopServers(folder);
await rm(folder, { recursive: true });
