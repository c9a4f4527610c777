import { describe, expect, it } from "vitest";
import { AdapterRouter, type AdapterRouterOptions, type ArmOutcomes } from "../../src/router/index.js";
import { DOMAINS } from "./domains.js";

const UNSURE = "Who approves the planetarium?";
const settings = { enableExploration: true, thresholds: { confLow: 0, confHigh: 1 } };

async function exploringRouter(options: AdapterRouterOptions): Promise<AdapterRouter> {
  const router = new AdapterRouter({ settings, refreshIntervalMs: 0, ...options });
  for (const { name, examples } of DOMAINS.slice(0, 2)) {
    const { id } = await router.registerAdapter({ name, domain: name, path: `adapters/${name}@v1`, baseModel: "tiny", examples });
    await router.activateAdapter(id);
  }
  await router.refresh();
  return router;
}

const explored = async (router: AdapterRouter) => router.explain((await router.route(UNSURE)).id).exploration!;

describe("outcomes that were stored", () => {
  it("weigh as much as if this process had seen them", async () => {
    const candidate = (await (await exploringRouter({})).route(UNSURE)).candidates[0]!.adapterId;
    const arms: ArmOutcomes[] = [
      { adapterId: candidate, count: 2, rewardSum: 1.5 },
      { adapterId: null, count: 1, rewardSum: 0 },
    ];
    const fresh = await explored(await exploringRouter({}));
    const informed = await explored(await exploringRouter({ outcomes: { load: async () => arms } }));
    expect(informed.candidate.alpha - fresh.candidate.alpha).toBeCloseTo(1.5);
    expect(informed.candidate.beta - fresh.candidate.beta).toBeCloseTo(0.5);
    expect(informed.default.beta - fresh.default.beta).toBeCloseTo(1);
    expect(informed.candidatePropensity).toBeGreaterThan(fresh.candidatePropensity);
  });

  it("are read again at a refresh, and replace what was counted since", async () => {
    let arms: ArmOutcomes[] = [];
    const router = await exploringRouter({ outcomes: { load: async () => arms } });
    const fresh = await explored(router);
    const { id, adapterId } = await router.route(UNSURE);
    await router.recordOutcome(id, 1);
    expect(await explored(router)).not.toEqual(fresh);
    arms = [{ adapterId, count: 1, rewardSum: 1 }];
    const counted = await explored(router);
    await router.refresh();
    expect(await explored(router)).toEqual(counted);
  });

  it("are noticed behind the back of route", async () => {
    let loads = 0;
    const load = async () => {
      loads++;
      return [];
    };
    const router = await exploringRouter({ outcomes: { load }, refreshIntervalMs: 1 });
    const before = loads;
    await expect
      .poll(async () => {
        await router.route(UNSURE);
        return loads;
      })
      .toBeGreaterThan(before);
    await router.close();
  });

  it.each([
    ["cannot be read", () => Promise.reject(new Error("no connection")), /no connection/],
    ["make no sense", async () => [{ adapterId: null, count: 1, rewardSum: 2 }], /rewardSum 2/],
  ])("that %s leave exploration as it was, and the log tells", async (_, load, message) => {
    const warnings: object[] = [];
    const ignore = (): void => undefined;
    const logger = { debug: ignore, info: ignore, error: ignore, warn: (data: object) => void warnings.push(data) };
    const router = await exploringRouter({ outcomes: { load }, logger });
    expect(await explored(router)).toEqual(await explored(await exploringRouter({})));
    expect(warnings).toContainEqual({ error: expect.objectContaining({ message: expect.stringMatching(message) }) });
  });
});
