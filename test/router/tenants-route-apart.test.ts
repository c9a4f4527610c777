import { describe, expect, it } from "vitest";
import { AdapterRouter, type AdapterRouterOptions } from "../../src/router/index.js";
import { plainDomain, refuseForeignDomain, scopedDomain, tenantPart, tenantPartOf } from "../../src/support/tenancy.js";
import { DOMAINS } from "./domains.js";

const [museum, harbour] = DOMAINS.slice(0, 2).map(({ name, examples }) => ({ name, examples }));
const ABOUT_MUSEUM = "Can you tell me the closing time of the planetarium?";
const ABOUT_HARBOUR = harbour!.examples[0]!;

/** `museum` is nobody's and Ulm's, `harbour` only Bonn's. */
async function townRouter(options: AdapterRouterOptions = {}) {
  const router = new AdapterRouter(options);
  for (const [domain, examples] of [
    ["museum", museum!.examples],
    ["ulm--museum", museum!.examples],
    ["bonn--harbour", harbour!.examples],
  ] as const) {
    const { id } = await router.registerAdapter({
      name: domain,
      domain,
      path: `adapters/${domain}`,
      baseModel: "tiny",
      examples: [...examples],
    });
    await router.activateAdapter(id);
  }
  return router;
}

describe("names of a tenant's domains (A42)", () => {
  it("hold the tenant or its hash, and no two tenants share one", () => {
    expect(scopedDomain("building", null)).toBe("building");
    expect(scopedDomain("building", "ulm")).toBe("ulm--building");
    expect(scopedDomain("ulm--building", "ulm")).toBe("ulm--building");
    for (const odd of ["Ulm", "a--b", "t0123456789ab", "-ulm", "ulm-", "_ulm", "x".repeat(21), "Stadt Ulm", "ü"]) {
      expect(tenantPart(odd)).toMatch(/^t[0-9a-f]{12}$/);
      expect(scopedDomain(scopedDomain("building", odd), odd)).toBe(scopedDomain("building", odd));
    }
    expect([tenantPartOf("ulm--building@v3"), tenantPartOf("building@v3"), plainDomain("ulm--building")]).toEqual([
      "ulm",
      null,
      "building",
    ]);
  });

  it("are refused to others, and where they are too long, naming the field", () => {
    const refusal = expect.objectContaining({ code: "input_invalid", details: expect.objectContaining({ field: "domain" }) });
    for (const [domain, tenant] of [
      ["ulm--building", "bonn"],
      ["ulm--building", null],
      ["ulm--", "ulm"],
      ["ulm--a--b", "ulm"],
    ] as const) {
      expect(() => refuseForeignDomain(domain, tenant)).toThrow(refusal);
    }
    expect(() => scopedDomain("d".repeat(60), "ulm")).toThrow(refusal);
    expect(scopedDomain("d".repeat(59), "ulm")).toHaveLength(64);
  });
});

describe("a tenant's adapter (A42)", () => {
  it("answers that tenant in the place of nobody's, and nobody else", async () => {
    const router = await townRouter();
    const answered = async (text: string, tenant?: string, domain?: string) => (await router.route(text, { tenant, domain })).adapterId;
    for (const domain of [undefined, "museum"]) {
      expect(await answered(ABOUT_MUSEUM, "ulm", domain)).toBe("ulm--museum@v1");
      expect(await answered(ABOUT_MUSEUM, "bonn", domain)).toBe("museum@v1");
      expect(await answered(ABOUT_MUSEUM, undefined, domain)).toBe("museum@v1");
    }
    for (const domain of [undefined, "harbour"]) {
      expect(await answered(ABOUT_HARBOUR, "bonn", domain)).toBe("bonn--harbour@v1");
      expect(await answered(ABOUT_HARBOUR, "ulm", domain)).not.toBe("bonn--harbour@v1");
      expect(await answered(ABOUT_HARBOUR, undefined, domain)).not.toBe("bonn--harbour@v1");
    }
    expect(await answered(ABOUT_MUSEUM, "ulm", "ulm--museum")).toBe("ulm--museum@v1");
    const decision = await router.route(ABOUT_HARBOUR, { tenant: "bonn" });
    expect(decision.strategy).toBe("embedding");
    expect(router.explain(decision.id).candidates[0]).toMatchObject({ adapterId: "bonn--harbour@v1", features: { bias: 1 } });
    for (const tenant of ["ulm", undefined]) {
      const { candidates } = await router.route(ABOUT_HARBOUR, { tenant });
      expect(candidates.map(({ adapterId }) => adapterId)).not.toContain("bonn--harbour@v1");
      await expect(router.route(ABOUT_HARBOUR, { tenant, domain: "bonn--harbour" })).rejects.toMatchObject({ code: "input_invalid" });
      await expect(router.route(ABOUT_HARBOUR, { tenant, pinned: "bonn--harbour@v1" })).rejects.toMatchObject({
        code: "adapter_not_found",
      });
    }
  });

  it("is chosen for nobody else by rule, as the default, by exploration or as a canary", async () => {
    const thresholds = { confLow: 0, confHigh: 1 };
    const rules = [
      { domain: "bonn--harbour", keywords: ["crane"], weight: 2 },
      { domain: "harbour", keywords: ["mooring"], weight: 2 },
    ];
    const router = await townRouter({ settings: { thresholds, enableExploration: true, rules }, explorationSeed: 7 });
    await router.configure({ defaultAdapter: "bonn--harbour@v1" });
    const trial = await router.registerAdapter({ name: "bonn--museum", domain: "bonn--museum", path: "adapters/x", baseModel: "tiny" });
    await router.startCanary(trial.id, { share: 0.5 });
    const texts = [ABOUT_MUSEUM, ABOUT_HARBOUR, "Where is the crane?", "The mooring, please.", "Hello"];
    const chosen = async (tenant?: string) => {
      const ids = new Set<string | null>();
      for (let person = 0; person < 20; person++) {
        for (const text of texts) {
          for (const domain of [undefined, "museum"])
            ids.add((await router.route(text, { tenant, domain, subjectId: `user-${person}` })).adapterId);
        }
      }
      return ids;
    };
    expect(await chosen("bonn")).toEqual(new Set(["bonn--harbour@v1", "bonn--museum@v1", "museum@v1"]));
    for (const tenant of ["ulm", undefined]) {
      const ids = [...(await chosen(tenant))];
      expect(ids).toContain(tenant === "ulm" ? "ulm--museum@v1" : "museum@v1");
      expect(ids.filter((id) => id?.startsWith("bonn"))).toEqual([]);
    }
  });

  it("moves no decision of others", async () => {
    const alone = new AdapterRouter();
    const { id } = await alone.registerAdapter({
      name: "museum",
      domain: "museum",
      path: "m",
      baseModel: "tiny",
      examples: [...museum!.examples],
    });
    await alone.activateAdapter(id);
    const among = await townRouter();
    await among.route(ABOUT_HARBOUR, { tenant: "bonn" });
    for (const text of [ABOUT_MUSEUM, ABOUT_HARBOUR, "Hello"]) {
      const [one, other] = [await alone.route(text), await among.route(text, { tenant: "berlin" })];
      expect(other).toEqual({ ...one, id: other.id });
    }
  });

  it("is registered only under a name of its tenant", async () => {
    const router = new AdapterRouter();
    const input = { path: "x", baseModel: "tiny" };
    for (const [name, domain] of [
      ["building", "ulm--building"],
      ["ulm--building", "building"],
      ["ulm--building", "bonn--building"],
    ] as const) {
      await expect(router.registerAdapter({ ...input, name, domain })).rejects.toMatchObject({ code: "input_invalid" });
    }
  });
});
