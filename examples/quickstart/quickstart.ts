// Asks, corrects, and shows that the correction is stored: the smallest use of CLARA. Run: node quickstart.ts
import { createClara } from "clara-sdk";

await using clara = await createClara({ database: { dataDir: process.env.DATA_DIR ?? ".clara" } });

const reply = await clara.serving.generate({ prompt: "Which key opens the chapel?", temperature: 0 });
console.log(`answer: ${reply.text}`);

const receipt = await clara.pipeline.addFeedback({
  generationId: reply.id,
  rating: -1,
  correction: "You need key B12 for the chapel.",
  subjectId: "user-7",
});
console.log(`feedback: ${receipt.status}`);

const { waitingByDomain } = clara.pipeline.buffer.stats();
console.log(`waiting: ${JSON.stringify(waitingByDomain)}`);
