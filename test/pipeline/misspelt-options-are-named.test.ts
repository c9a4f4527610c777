import { describe, expect, it } from "vitest";
import { type ClaraOptions, createClara } from "../../src/clara.js";
import { DatasetManager } from "../../src/datasets/index.js";
import { GenerationLog, type PipelineOptions } from "../../src/pipeline/index.js";
import type { Store } from "../../src/store/index.js";
import { buildRooms } from "./support/rooms.js";

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
