// A chatbot that learns from its users. Run: node server.ts, then POST /chat and /feedback.
import { ClaraError, createClara } from "clara-sdk";
import express, { type NextFunction, type Request, type Response } from "express";

const clara = await createClara({ database: { dataDir: process.env.DATA_DIR ?? ".clara" } });
await clara.pipeline.start();

const app = express().use(express.json());

app.post("/chat", async (request, response) => {
  const reply = await clara.serving.generate({ messages: request.body.messages, temperature: 0 });
  response.json({ id: reply.id, text: reply.text, adapter: reply.adapterId });
});

app.post("/feedback", async (request, response) => {
  const { generationId, rating, correction, user } = request.body;
  response.json(await clara.pipeline.addFeedback({ generationId, rating, correction, subjectId: user }));
});

app.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
  if (!ClaraError.isInstance(error)) throw error;
  response.status(error.isRetryable ? 503 : 400).json({ code: error.code, detail: error.message });
});

const server = app.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () => {
  const address = server.address();
  console.log(`listening on http://127.0.0.1:${typeof address === "object" ? address?.port : address}`);
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, async () => {
    server.close();
    await clara.close();
  });
}
