import { describe, expect, it } from "vitest";
import { AdapterRouter, DEFAULT_ROUTER_SETTINGS } from "../../src/router/index.js";

describe("the settings", () => {
  it("keep what a change leaves out, also single thresholds", async () => {
    const router = new AdapterRouter({ settings: { enableExploration: true } });
    await router.configure({ thresholds: { confHigh: 0.9 } });
    expect(router.status().settings).toEqual({
      ...DEFAULT_ROUTER_SETTINGS,
      enableExploration: true,
      thresholds: { hardDomain: 1.5, confLow: 0.55, confHigh: 0.9 },
    });
  });

  it.each([
    ["thresholds.confLow", { thresholds: { confLow: 1.2 } }],
    ["thresholds.confLow", { thresholds: { confLow: 0.9 } }],
    ["thresholds.hardDomain", { thresholds: { hardDomain: 0 } }],
    ["enableEmbeddings", { enableEmbeddings: "yes" }],
    ["rules.0.domain", { rules: [{ domain: "No Slug", keywords: ["a"] }] }],
    ["confHigh", { confHigh: 0.9 }],
    ["thresholds", { thresholds: 3 }],
  ])("refuse a wrong %s by its name, and stay as they are", async (field, change) => {
    const router = new AdapterRouter();
    await expect(router.configure(change as never)).rejects.toMatchObject({
      code: "input_invalid",
      message: expect.stringContaining(field),
    });
    expect(router.status().settings).toEqual(DEFAULT_ROUTER_SETTINGS);
    expect(() => new AdapterRouter({ settings: change as never })).toThrow(expect.objectContaining({ code: "config_invalid" }));
  });

  it("refuse a default adapter that nobody registered", async () => {
    const router = new AdapterRouter();
    await expect(router.configure({ defaultAdapter: "ghost@v1" })).rejects.toMatchObject({ code: "adapter_not_found" });
    expect(router.status().settings.defaultAdapter).toBeNull();
  });
});

describe("outcomes", () => {
  it("are counted by adapter, the last one of a decision only", async () => {
    const router = new AdapterRouter();
    const first = await router.route("Hello", { pinned: "building@v1" });
    const second = await router.route("Hello", { pinned: "building@v1" });
    const base = await router.route("Hello");
    await router.recordOutcome(first.id, -1);
    await router.recordOutcome(first.id, 1);
    await router.recordOutcome(second.id, -0.5);
    await router.recordOutcome(base.id, 0);
    expect(router.status().outcomes).toEqual({
      "building@v1": { count: 2, positive: 1, negative: 1, meanReward: 0.25 },
      base: { count: 1, positive: 0, negative: 0, meanReward: 0 },
    });
  });

  it("of a decision that is unknown or forgotten are refused", async () => {
    const router = new AdapterRouter({ maxDecisions: 2 });
    const [oldest] = [await router.route("1"), await router.route("2"), await router.route("3")];
    await expect(router.recordOutcome(oldest!.id, 1)).rejects.toMatchObject({ code: "decision_not_found", details: { id: oldest!.id } });
    await expect(router.recordOutcome("nonsense", 1)).rejects.toMatchObject({ code: "decision_not_found" });
  });

  it.each([2, -1.01, Number.NaN])("a reward of %s is refused", async (reward) => {
    const router = new AdapterRouter();
    const { id } = await router.route("Hello");
    await expect(router.recordOutcome(id, reward)).rejects.toMatchObject({ code: "input_invalid" });
  });
});

describe("the input of route", () => {
  it.each([[null], [42], [[{ role: "robot", content: "x" }]], [[{ role: "user" }]]])("%j is refused", async (input) => {
    await expect(new AdapterRouter().route(input as never)).rejects.toMatchObject({ code: "input_invalid" });
  });

  it.each(["", "   ", "😀", "x".repeat(3_000_000), "\ud800"])("a strange text is answered by the default (%#)", async (text) => {
    const router = new AdapterRouter();
    const { id } = await router.registerAdapter({
      name: "a",
      domain: "a",
      path: "adapters/a@v1",
      baseModel: "tiny",
      examples: ["Which key opens the chapel?"],
    });
    await router.activateAdapter(id);
    expect(await router.route(text)).toMatchObject({ adapterId: null, strategy: "default" });
  });
});
