/** Takes doubtful feedback, approves it, erases a person whose content another then gives again and one of a tenant, and dies: `reviewing-app.ts DATA_DIR FOLDER`. */
import { openStore } from "../../../src/store/index.js";
import { buildRooms } from "./rooms.js";

const [dataDir = "", folder = ""] = process.argv.slice(2);
const store = await openStore({ database: { dataDir } });
const { pipeline, datasets } = buildRooms(store, { name: "review" }, folder);
const check = datasets.quality.check.bind(datasets.quality);
datasets.quality.check = async (sample) => {
  const report = await check(sample);
  return sample.prompt.startsWith("Doubtful") ? { ...report, score: 0.45, passed: false } : report;
};
const good = {
  prompt: "Who is the caretaker of the greenhouse?",
  response: "The caretaker of the greenhouse is Mr Villanueva.",
  rating: 1,
};
const doubtful = await pipeline.addFeedback({ ...good, prompt: "Doubtful: who is the caretaker?", subjectId: "stays" });
await pipeline.review.decide(doubtful.id, { decision: "approve" });
const namesake = { ...good, subjectId: "namesake" };
for (const tenant of ["ulm", "bonn"]) await pipeline.addFeedback({ ...namesake, metadata: { tenant } });
await pipeline.addFeedback({ ...good, subjectId: "goes" });
// the power is lost before the journal could be shortened
store.journal!.checkpoint = async () => {};
await pipeline.eraseSubject("goes");
await pipeline.eraseSubject("namesake", { tenant: "ulm" });
const again = await pipeline.addFeedback({ ...good, subjectId: "stays" });
if (doubtful.status !== "review" || again.status !== "accepted") process.stderr.write(`${doubtful.status} ${again.status}`);
process.kill(process.pid, "SIGKILL");
