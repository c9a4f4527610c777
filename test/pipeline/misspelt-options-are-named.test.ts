import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ClaraOptions, createClara } from "../../src/clara.js";
import { ServingClient } from "../../src/client/index.js";
import { DatasetManager } from "../../src/datasets/index.js";
import { GenerationLog, type PipelineOptions } from "../../src/pipeline/index.js";
import type { Store } from "../../src/store/index.js";
import { createHarness } from "../setup/index.js";
import { buildRooms, type Rooms } from "./support/rooms.js";

const store = {} as Store;

describe("options that would leave a default in force without a word", () => {
  it.each([
    ["createClara", { databse: "postgres://app@db/app" }, ["databse"]],
    ["createClara", { database: { dataDir: "x" }, reciptSecret: "a secret of the test's own" }, ["reciptSecret"]],
  ])("are refused by %s: %j", async (what, options, unknown) => {
    const refusal = { code: "config_invalid", details: { unknown }, message: expect.stringContaining(`${what} has no option`) };
    await expect(createClara(options as ClaraOptions)).rejects.toMatchObject(refusal);
  });

  it.each([null, 5, "postgres://app@db/app", []])("are no object: %j", async (options) => {
    await expect(createClara(options as never)).rejects.toMatchObject({ code: "config_invalid" });
  });

  it.each([
    ["pipeline", { trigger: {} }, "trigger"],
    ["pipeline.triggers", { triggers: { minSample: 20 } }, "minSample"],
    ["pipeline.gate", { gate: { confidance: 0.99 } }, "confidance"],
    ["pipeline.canary", { canary: { shares: 0.1 } }, "shares"],
    ["pipeline.firewall", { firewall: { heldout: ["Who opened the town hall?"] } }, "heldout"],
    ["pipeline.firewall.personalData", { firewall: { personalData: { name: ["Erika"] } } }, "name"],
    ["pipeline", { ["__proto__" as string]: { name: "x" } }, "__proto__"],
  ])("are refused at %s: %j", (what, options, unknown) => {
    const message = expect.stringContaining(`${what} has no option "${unknown}". There are: `);
    expect(() => buildRooms(store, options as PipelineOptions)).toThrow(
      expect.objectContaining({ code: "config_invalid", details: { unknown: [unknown] }, message }),
    );
  });

  it.each([
    { firewall: { injection: "block" } },
    { firewall: { personalData: { action: "remove" } } },
    { firewall: { personalData: { kinds: ["e-mail"] } } },
    { tenants: "seperate" },
    { triggers: { anonymous: "none" } },
  ])("are no word that an option may be: %j", (options) => {
    expect(() => buildRooms(store, options as never)).toThrow(expect.objectContaining({ code: "config_invalid" }));
  });

  it("are refused where texts and vectors are kept", () => {
    expect(() => new GenerationLog({ store, texts: "hashes" as never })).toThrow(expect.objectContaining({ code: "config_invalid" }));
    for (const embedder of [{}, null, { name: "x", dimensions: 3 }, { name: "", dimensions: 3, embed: async () => [] }]) {
      expect(() => new DatasetManager({ store, embedder: embedder as never })).toThrow(expect.objectContaining({ code: "config_invalid" }));
    }
  });
});

describe("arguments that would leave something out without a word", () => {
  const harness = createHarness("embedded");
  let pipeline: Rooms["pipeline"];
  beforeAll(async () => {
    pipeline = buildRooms(await harness.open()).pipeline;
  });
  afterAll(() => harness.reset());

  it.each([{ cod: "cluster" }, { limit: -1 }, { offset: 0.5 }, null])(
    "are refused where the review queue is listed, for a decision on all of it would go too far: %j",
    async (filter) => {
      await expect(pipeline.review.list(filter as never)).rejects.toMatchObject({ code: "input_invalid" });
    },
  );

  it("are refused where many would be given one edited text", async () => {
    const decision = { decision: "approve", edited: "The fee is 12 euros." } as const;
    await expect(pipeline.review.decideMany(["one", "two"], decision)).rejects.toMatchObject({ details: { field: "edited" } });
  });

  it("are refused where cycles are listed or feedback is counted", async () => {
    await expect(pipeline.listCycles({ limit: -5 })).rejects.toMatchObject({ code: "input_invalid" });
    await expect(pipeline.intakeMetrics({ since: new Date(Number.NaN) })).rejects.toMatchObject({ details: { field: "since" } });
    await expect(pipeline.intakeMetrics({ since: "2026" as never })).rejects.toMatchObject({ details: { field: "since" } });
  });

  it("and an aborted review call lists and decides nothing", async () => {
    const signal = AbortSignal.abort();
    await expect(pipeline.review.list({ signal })).rejects.toMatchObject({ code: "aborted" });
    await expect(pipeline.review.decide("one", { decision: "reject" }, { signal })).rejects.toMatchObject({ code: "aborted" });
  });

  it.each([7, "", ["ulm"], true])("are refused as a tenant, or its feedback would teach everybody: %j (A42)", async (tenant) => {
    const input = { prompt: "Who keeps the key?", response: "The caretaker keeps the key.", rating: 1, metadata: { tenant } as never };
    await expect(pipeline.addFeedback(input)).rejects.toMatchObject({ code: "input_invalid", details: { field: "metadata.tenant" } });
    const serving = new ServingClient({ engine: "vllm", endpoints: ["http://127.0.0.1:1/v1"], baseModel: "tiny" });
    await expect(serving.generate({ prompt: "Who keeps the key?", metadata: { tenant } as never })).rejects.toMatchObject({
      details: { field: "metadata.tenant" },
    });
  });
});
