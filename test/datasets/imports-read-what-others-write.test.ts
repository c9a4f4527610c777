import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, it } from "vitest";
import { DatasetManager, type ImportFormat, toFeedback } from "../../src/datasets/index.js";
import type { Store } from "../../src/store/index.js";
import type { DatasetItem } from "../../src/types/index.js";
import { describeEachStore } from "../setup/index.js";

const fixture = (name: string): string => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));

describeEachStore("an import", (harness) => {
  let store: Store;
  let datasets: DatasetManager;
  beforeAll(async () => {
    store = await harness.open();
    datasets = new DatasetManager({ store });
  });

  async function rowsOf(id: string): Promise<DatasetItem[]> {
    const rows: DatasetItem[] = [];
    for await (const item of datasets.items(id)) rows.push(item);
    return rows;
  }

  async function learnt(name: string, format: ImportFormat) {
    const result = await datasets.import(fixture(name), { format, name: `import ${name}`, prepare: { holdout: false } });
    const lessons = (await rowsOf(result.dataset.id)).map(({ split, sample }) => `${split}: ${sample.prompt} → ${sample.response}`);
    return { ...result, lessons: lessons.sort() };
  }

  it("of an OpenAI file learns every answer with weight, and the preferred one of a pair", async () => {
    const { lessons, errors, rows } = await learnt("openai-chat.jsonl", "openai");
    expect(lessons).toEqual([
      "preference: May I build a shed? → Ask someone else, please.",
      "train: May I build a shed? → Yes, up to ten square metres.",
      "train: Please look it up. → It opens at nine.",
      "train: What does a permit cost? → It costs forty euros.",
      "train: Where is the office? → On the first floor.",
    ]);
    expect(rows).toBe(5);
    expect(errors).toEqual([{ row: 4, line: 4, code: "no_answer", message: expect.any(String) }]);
  });

  it("of a ShareGPT file learns answers to people, not to tools", async () => {
    const { lessons, errors } = await learnt("sharegpt.json", "sharegpt");
    expect(lessons).toEqual([
      "preference: Darf ich bauen? → Frag jemand anderen, bitte.",
      "train: Darf ich bauen? → Ja, mit einer Genehmigung.",
      "train: Und wann öffnet es? → Um neun Uhr morgens.",
      "train: Wo ist das Büro? → Im ersten Stock links.",
    ]);
    expect(errors).toEqual([{ row: 2, line: 11, code: "no_answer", message: expect.any(String) }]);
  });

  it("of an Alpaca file puts the input under the instruction, and learns from its history", async () => {
    const { lessons, errors } = await learnt("alpaca.json", "alpaca");
    expect(lessons).toEqual([
      "train: And what does it cost? → It costs forty euros.",
      "train: Give three tips for a building application. → Read the plan, ask the neighbours, and apply early.",
      "train: Translate the sentence into English.\nDas Büro ist offen. → The office is open.",
      "train: Who decides on it? → The town council decides on it.",
    ]);
    expect(errors).toEqual([{ row: 4, line: 18, code: "no_answer", message: "its output is empty" }]);
  });

  it("of Langfuse learns expected outputs, and takes scored traces as feedback", async () => {
    const items = await learnt("langfuse-dataset-items.jsonl", "langfuse");
    expect(items.lessons).toEqual(["train: When does it open? → It opens at nine.", "train: Where is the office? → On the first floor."]);
    expect(items.errors).toEqual([{ row: 3, line: 3, code: "no_signal", message: "the item is archived" }]);
    expect(items.dataset.lineage.sampleIds?.toSorted()).toEqual(["cm1a2b3c40001", "cm1a2b3c40002"]);
    const traces = await learnt("langfuse-traces.json", "langfuse");
    expect(traces.lessons).toEqual([
      "preference: May I build a shed? → Ask someone else, please.",
      "train: Where is the office? → On the first floor.",
    ]);
    expect(traces.errors).toEqual([{ row: 3, line: 3, code: "no_signal", message: expect.any(String) }]);
    expect(traces.dataset.statistics.subjects).toBe(2);
  });

  it("of TensorZero learns outputs, and takes dispreferred ones as thumbs down", async () => {
    const { lessons, errors, dataset } = await learnt("tensorzero-datapoints.jsonl", "tensorzero");
    expect(lessons).toEqual([
      "preference: May I build a shed? → Ask someone else, please.",
      "train: May I build a shed? → Yes, up to ten square metres.",
      'train: The office opens on 4 March 2026. → {"date":"2026-03-04"}',
      "train: Where is the office? → On the first floor.",
    ]);
    expect(errors).toEqual([{ row: 4, line: 4, code: "no_answer", message: expect.any(String) }]);
    expect((await rowsOf(dataset.id)).find(({ sample }) => sample.prompt === "Where is the office?")?.sample.subjectId).toBe("123");
  });

  it("of Veritas finds the rated answers by their ids, and reads batches of the first CLARA", async () => {
    const generation = { adapter_id: null, model: "m", domain: "recht", subject_id: null, decision_id: null, decision: null };
    await store.db
      .insertInto("generations")
      .values({
        ...generation,
        id: "generation-1",
        prompt: "Wo ist das Archiv?",
        response: "Im Keller neben der Tür.",
        text_hash: null,
        prompt_tokens: 1,
        completion_tokens: 1,
        finish_reason: "stop",
        latency_ms: 1,
        metadata: "{}",
        created_at: new Date(),
      })
      .execute();
    const { lessons, errors, dataset } = await learnt("veritas.jsonl", "veritas");
    expect(lessons).toEqual([
      "preference: Was kostet der Antrag? → Gar nichts, glaube ich.",
      "train: Wann öffnet das Büro? → Um neun Uhr morgens.",
      "train: Wo ist das Archiv? → Im Keller neben der Tür.",
    ]);
    expect(errors.map(({ row, code }) => [row, code])).toEqual([
      [2, "no_text"],
      [4, "row_invalid"],
    ]);
    expect((await rowsOf(dataset.id)).map(({ sample }) => [sample.rating, sample.domain, sample.importance])).toEqual(
      expect.arrayContaining([
        [1, "recht", 3],
        [0.8, "recht", 4],
        [-1, "recht", 2],
      ]),
    );
  });

  it("gives feedback in the shape that addFeedback takes", () => {
    expect(toFeedback({ message_id: "g1", rating: -1, category: "incorrect", comment: "falsch", user_id: "u1" })).toEqual({
      generationId: "g1",
      rating: -1,
      comment: "falsch",
      subjectId: "u1",
      source: "veritas",
      idempotencyKey: "veritas:g1:u1",
      metadata: { category: "incorrect" },
    });
    expect(toFeedback({ user_question: "Wo?", ai_response: "Hier.", user_rating: 2 })).toMatchObject({ rating: -0.5, source: "import" });
    expect(toFeedback({ text: "nur ein Text" })).toBeNull();
  });

  const imported = async (format: ImportFormat, ...records: unknown[]) => {
    const text = records.map((record) => JSON.stringify(record)).join("\n");
    const result = await datasets.import([text], { format, name: "odd but legal", prepare: false });
    return { ...result, rowsOfIt: (await rowsOf(result.dataset.id)).map(({ sample }) => sample) };
  };

  it("names each answer of a conversation that it could not take, and takes the others", async () => {
    const messages = [
      { role: "user", content: "Where is the office?" },
      { role: "assistant", content: "On the first floor." },
      { role: "user", content: [{ type: "image_url", image_url: { url: "data:," } }] },
      { role: "assistant", content: "That is the town hall." },
      { role: "user", content: "When does it open?" },
      { role: "assistant", content: null, tool_calls: [] },
      { role: "tool", content: "9" },
      { role: "assistant", content: "At nine.", weight: 0 },
      { role: "assistant", content: "At nine o'clock." },
    ];
    const { errors, accepted, rejected } = await imported("openai", { messages });
    expect(errors.map(({ message }) => message.split(":")[0])).toEqual(["turn 4", "turn 6", "turn 9"]);
    expect([accepted, rejected]).toEqual([1, 3]);
    const conversations = messages.map(({ role, content }) => ({ from: role === "assistant" ? "gpt" : "human", value: content }));
    expect((await imported("sharegpt", { conversations, chosen: null, rejected: null })).rejected).toBe(3);
    const history = [["And then?", "Apply."], ["Why?"]];
    const alpaca = await imported("alpaca", { instruction: "Say yes", input: "", output: "Yes.", chosen: null, rejected: null, history });
    expect(alpaca.errors.map(({ message }) => message.split(":")[0])).toEqual(["history 2"]);
    expect(alpaca.rowsOfIt.map(({ response }) => response)).toEqual(["Apply.", "Yes."]);
  });

  it("says which entry of a page it could not take", async () => {
    const entry = (output: unknown) => ({ input: "Where is the office?", output, scores: [{ value: 1 }] });
    const { errors, rows } = await imported("langfuse", { data: [entry("Upstairs."), entry(null)] }, { data: [entry("On the left.")] });
    expect(rows).toBe(3);
    expect(errors).toEqual([{ row: 1, line: 1, entry: 2, code: "no_answer", message: expect.any(String) }]);
  });

  it("reads past the thoughts of a model, to what it said", async () => {
    const input = { messages: [{ role: "user", content: "Where is the office?" }] };
    const output = [
      { type: "thought", text: "Let me see." },
      { type: "text", text: "Upstairs." },
    ];
    expect((await imported("tensorzero", { function_name: "chat", input, output })).rowsOfIt[0]?.response).toBe("Upstairs.");
  });

  it("keeps people and areas of a rating, and refuses a rating that is no number by its name", async () => {
    const rated = { message_id: 4711, question: "Where is the office?", answer: "Upstairs.", user_id: 17 };
    const { rowsOfIt, errors } = await imported("veritas", { ...rated, rating: 1 }, { ...rated, rating: "1" });
    expect(rowsOfIt.map(({ subjectId }) => subjectId)).toEqual(["17"]);
    expect(errors).toMatchObject([{ row: 2, code: "row_invalid", message: expect.stringContaining("rating") }]);
    const batch = { user_question: "Where is the office?", ai_response: "Upstairs.", feedback_score: 1, area: "Straßen & Brücken" };
    expect((await imported("veritas", batch)).rowsOfIt[0]?.domain).toBe("strassen-brucken");
  });

  it("remembers its file, tells its progress, and gives the same version for the same file", async () => {
    const seen: number[] = [];
    const options = { format: "alpaca", name: "imported twice", domain: "office" } as const;
    const first = await datasets.import(fixture("alpaca.json"), { ...options, onProgress: ({ rows }) => seen.push(rows) });
    const { length } = await readFile(fixture("alpaca.json"));
    expect(first).toMatchObject({ rows: 4, accepted: 4, rejected: 1, bytes: length });
    expect(first.dataset).toMatchObject({ domain: "office", version: 1, lineage: { source: "import" } });
    expect(first.dataset.lineage.import).toMatchObject({
      format: "alpaca",
      rows: 4,
      rejected: 1,
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(seen.at(-1)).toBe(4);
    expect((await datasets.import(fixture("alpaca.json"), options)).dataset).toEqual(first.dataset);
  });

  it("takes samples as they stand where it is asked to", async () => {
    const lines = Array.from({ length: 30 }, (_, index) => JSON.stringify({ prompt: `Frage ${index % 3}?`, response: "asdfghjkl" })).join(
      "\n",
    );
    const refused = datasets.import([Buffer.from(lines)], { format: "jsonl", name: "prepared import" });
    await expect(refused).rejects.toMatchObject({ code: "dataset_empty", message: expect.stringContaining("quality_repetition") });
    const { dataset } = await datasets.import([Buffer.from(lines)], { format: "jsonl", name: "raw import", prepare: false });
    expect(dataset).toMatchObject({ splits: { train: 30 }, quality: 0.313 });
  });
});
