import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CorrectionMemory, type PipelineOptions } from "../../src/pipeline/index.js";
import type { Store } from "../../src/store/index.js";
import { plainDomain, scopedDomain, tenantPart, tenantPartOf } from "../../src/support/tenancy.js";
import type { FeedbackInput } from "../../src/types/index.js";
import { createHarness, describeEachStore } from "../setup/index.js";
import { corrections, type Fact, facts } from "./support/facts.js";
import { addAll, buildRooms, type Rooms } from "./support/rooms.js";

const UNNAMED = "nobody";
let domains = 0;
const newDomain = () => `area-${domains++}`;
const inMetadata = (tenant: string | null) => (tenant === null ? {} : { metadata: { tenant } });
const ownerOf = (text: string) => / says (.+)\.$/.exec(text)?.[1];
const ownersOf = (pairs: readonly { response: string }[] = []) => [...new Set(pairs.map(({ response }) => ownerOf(response)))];

/** What a tenant teaches: everybody's questions, answers that name who gave them. */
function lessons(of: readonly Fact[], tenant: string | null, domain: string): FeedbackInput[] {
  const own = of.map((fact) => ({ ...fact, answer: `${fact.answer.slice(0, -1)}, says ${tenant ?? UNNAMED}.` }));
  return corrections(own, { domain }).map((input) => ({ ...input, ...inMetadata(tenant) }));
}

/** Two cycles of every pair; the second has something to replay and to be tested on. */
async function learnTwice({ pipeline }: Rooms, pairs: readonly { tenant: string | null; domain: string }[]) {
  for (const part of [facts(48).slice(0, 24), facts(48).slice(24)]) {
    for (const { tenant, domain } of pairs) await addAll(pipeline, lessons(part, tenant, domain));
    for (const domain of Object.keys((await pipeline.buffer.refresh()).waitingByDomain)) {
      expect((await pipeline.triggerTrainingCycle({ domain, wait: true })).status).toBe("promoted");
    }
  }
}

describe("feedback of several tenants", () => {
  const harness = createHarness("embedded");
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });
  afterAll(() => harness.reset());

  it("crosses to no other tenant: no data set, replay, regression set or routed adapter does (A42)", { timeout: 300_000 }, async () => {
    const tenants = ["ulm", "Stadt Bonn", null];
    const pair = fc.record({ tenant: fc.constantFrom(...tenants), area: fc.constantFrom(0, 1) });
    const mixture = fc.uniqueArray(pair, { minLength: 2, maxLength: 3, selector: ({ tenant, area }) => `${tenant} ${area}` });
    await fc.assert(
      fc.asyncProperty(mixture, async (areas) => {
        const names = [newDomain(), newDomain()] as const;
        const pairs = areas.map(({ tenant, area }) => ({ tenant, domain: names[area as 0 | 1] }));
        const rooms = buildRooms(store);
        const { pipeline, datasets, router, trainer } = rooms;
        await learnTwice(rooms, pairs);
        const cycles = await pipeline.listCycles({ limit: 100 });
        expect(cycles).toHaveLength(2 * pairs.length);
        for (const { tenant, domain } of pairs) {
          const scoped = scopedDomain(domain, tenant);
          const owner = tenant ?? UNNAMED;
          for (const { datasetId } of cycles.filter((cycle) => cycle.domain === scoped)) {
            for await (const { sample } of datasets.items(datasetId as string)) expect(ownerOf(sample.response)).toBe(owner);
          }
          const inputs = trainer.inputs.filter(({ configName }) => configName === scoped);
          expect(inputs.map(({ rehearsal }) => ownersOf(rehearsal))).toEqual([[], [owner]]);
          const tested = inputs.flatMap(({ regression = [] }) => regression.filter(({ name }) => name !== "general"));
          expect(tested.map(({ name }) => name)).toContain(`domain:${scoped}`);
          for (const { items } of tested) expect([owner, UNNAMED]).toContain(ownersOf(items).join());
          expect(router.activeAdapter(scoped)?.name).toBe(scoped);
          for (const asking of ["ulm", "Stadt Bonn", "berlin", undefined]) {
            for (const hint of [undefined, domain]) {
              const { adapterId, candidates } = await router.route(facts(1)[0]!.prompts[0]!, { tenant: asking, domain: hint });
              const reached = [adapterId, ...candidates.map((candidate) => candidate.adapterId)].flatMap((id) =>
                id === null ? [] : (tenantPartOf(id) ?? []),
              );
              expect(reached.filter((part) => asking === undefined || part !== tenantPart(asking))).toEqual([]);
              if (asking === tenant && hint !== undefined) expect(adapterId).toBe(router.activeAdapter(scoped)?.id);
            }
          }
        }
        const manifest = await store.db
          .selectFrom("cycle_samples")
          .innerJoin("cycles", "cycles.id", "cycle_samples.cycle_id")
          .innerJoin("samples", "samples.id", "cycle_samples.sample_id")
          .select(["cycle_samples.role", "cycles.domain as learns", "samples.domain as sample"])
          .distinct()
          .where("cycles.pipeline", "=", pipeline.status().name)
          .execute();
        for (const { role, learns, sample } of manifest) {
          if (role !== "test") expect(sample).toBe(learns);
          else expect([null, tenantPartOf(learns)]).toContain(tenantPartOf(sample));
        }
      }),
      { numRuns: 3, seed: 42 },
    );
  });

  it("mixes where the host chose shared (A42)", { timeout: 120_000 }, async () => {
    const rooms = buildRooms(store, { tenants: "shared" });
    const domain = newDomain();
    // each tells the other half of the facts
    await addAll(rooms.pipeline, lessons(facts(24).slice(0, 12), "ulm", domain));
    await addAll(rooms.pipeline, lessons(facts(24).slice(12), "Stadt Bonn", domain));
    const cycle = await rooms.pipeline.triggerTrainingCycle({ domain, wait: true });
    expect(cycle).toMatchObject({ domain, samples: 72, status: "promoted" });
    const owners = new Set<string | undefined>();
    for await (const { sample } of rooms.datasets.items(cycle.datasetId as string)) owners.add(ownerOf(sample.response));
    expect(owners).toEqual(new Set(["ulm", "Stadt Bonn"]));
    for (const tenant of ["ulm", "Stadt Bonn", undefined]) {
      expect((await rooms.router.route("?", { domain, tenant })).adapterId).toBe(cycle.adapterId);
    }
  });
});

describeEachStore("a tenant's feedback", (harness) => {
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });
  afterAll(async () => {
    await store.close();
  });

  const [lesson] = corrections(facts(1)) as [FeedbackInput];
  const waiting = async ({ pipeline }: Rooms) => (await pipeline.buffer.refresh()).waitingByDomain;

  it("repeats nothing of others, by content, likeness or key (A42)", async () => {
    const options: PipelineOptions = { firewall: { maxAlike: 1 } };
    const rooms = buildRooms(store, options);
    const of = (tenant: string | null): FeedbackInput => ({ ...lesson, ...inMetadata(tenant), domain: "building", idempotencyKey: "one" });
    for (const tenant of ["ulm", "Stadt Bonn", null]) {
      expect((await rooms.pipeline.addFeedback(of(tenant))).status).toBe("accepted");
      expect((await rooms.pipeline.addFeedback({ ...of(tenant), idempotencyKey: "two" })).status).toBe("duplicate");
      expect((await rooms.pipeline.addFeedback(of(tenant))).status).toBe("duplicate");
    }
    expect(await waiting(rooms)).toEqual({ "ulm--building": 1, [scopedDomain("building", "Stadt Bonn")]: 1, building: 1 });
  });

  it("has the tenant of the answer, and another one's is refused as somebody else's (A38, A42)", async () => {
    const rooms = buildRooms(store);
    const answer = {
      id: `gen_${newDomain()}`,
      text: lesson.response as string,
      prompt: lesson.prompt as string,
      messages: [],
      adapterId: null,
      routingConfidence: null,
      usage: { promptTokens: 1, completionTokens: 1 },
      finishReason: "stop",
      model: "base",
      endpoint: "",
      latencyMs: 1,
      domain: "ulm--building",
      metadata: { tenant: "ulm" },
      createdAt: new Date().toISOString(),
    };
    rooms.generations.record(answer);
    for (const isWritten of [false, true]) {
      if (isWritten) await rooms.generations.flush();
      const given = { generationId: answer.id, rating: -1, correction: `${lesson.correction} ${isWritten}` };
      expect(await rooms.pipeline.addFeedback({ ...given, metadata: { tenant: "bonn" } })).toMatchObject({
        status: "rejected",
        code: "not_own_generation",
      });
      expect((await rooms.pipeline.addFeedback(given)).status).toBe("accepted");
    }
    expect(await waiting(rooms)).toEqual({ "ulm--building": 2 });
    const memory = new CorrectionMemory({ store, pipeline: rooms.pipeline.status().name });
    const recalled = async (tenant?: string) =>
      (
        await memory.recall([{ role: "user", content: lesson.prompt as string }], {
          domain: "building",
          metadata: tenant === undefined ? {} : { tenant },
        })
      ).map(({ domain }) => domain);
    expect(await recalled("ulm")).toEqual(["building"]);
    expect([await recalled("bonn"), await recalled()]).toEqual([[], []]);
    await memory.close();
  });

  it("names no other tenant's domain (A42)", async () => {
    const { pipeline } = buildRooms(store);
    for (const tenant of ["bonn", null]) {
      await expect(pipeline.addFeedback({ ...lesson, ...inMetadata(tenant), domain: "ulm--building" })).rejects.toMatchObject({
        code: "input_invalid",
        details: { field: "domain" },
      });
    }
    const line = JSON.stringify({ ...lesson, domain: "ulm--building" });
    expect(await pipeline.importFeedback([line])).toMatchObject({ rejected: 1, errors: [{ line: 1, code: "input_invalid" }] });
  });

  it("is in the manifest of no other cycle, whoever writes it (A42)", async () => {
    const rooms = buildRooms(store);
    const name = rooms.pipeline.status().name;
    const area = newDomain();
    const sampleOf = async (tenant: string | null) =>
      (await rooms.pipeline.addFeedback({ ...lesson, ...inMetadata(tenant), domain: area })).id;
    const [ulm, bonn, nobody] = [await sampleOf("ulm"), await sampleOf("bonn"), await sampleOf(null)];
    const cycle = {
      pipeline: name,
      trigger: "manual",
      status: "failed",
      stage: null,
      samples: 0,
      state: "{}",
      created_at: new Date(),
      ended_at: new Date(),
      attempts: 0,
    };
    const cycles = [`ulm--${area}`, area, "ulm"].map((domain) => ({ ...cycle, id: `${name}:${domain}`, domain }));
    await store.db.insertInto("cycles").values(cycles).execute();
    const note = (index: 0 | 1 | 2, sampleIds: string[], role: string) =>
      store.db
        .insertInto("cycle_samples")
        .values(sampleIds.map((id) => ({ cycle_id: cycles[index]!.id, sample_id: id, pipeline: name, role, released_at: null })))
        .execute();
    for (const role of ["learn", "replay"]) {
      for (const foreign of [bonn, nobody]) await expect(note(0, [ulm, foreign], role)).rejects.toThrow(/of the domain/);
      await expect(note(1, [nobody, ulm], role)).rejects.toThrow(/of the domain/);
    }
    await expect(note(0, [ulm, bonn], "test")).rejects.toThrow(/of the domain/);
    await expect(note(1, [ulm], "test")).rejects.toThrow(/of the domain/);
    // a domain that is called like a tenant is not that tenant's
    await expect(note(2, [ulm], "test")).rejects.toThrow(/of the domain/);
    await expect(store.db.updateTable("samples").set({ cycle_id: cycles[0]!.id }).where("id", "=", bonn).execute()).rejects.toThrow(
      /samples_cycle_domain/,
    );
    await note(0, [ulm, nobody], "test");
    await note(0, [ulm], "replay");
    await note(1, [nobody], "learn");
  });

  it("is erased with its person, whose namesakes elsewhere keep theirs (A42, A45)", async () => {
    const { pipeline, router, datasets } = buildRooms(store);
    const domain = newDomain();
    const tenants = ["ulm", "Stadt Bonn", null];
    for (const tenant of tenants) await addAll(pipeline, lessons(facts(30), tenant, domain));
    const cycles = new Map<string | null, string>();
    for (const tenant of tenants) {
      const cycle = await pipeline.triggerTrainingCycle({ domain: scopedDomain(domain, tenant), wait: true });
      expect(cycle.status).toBe("promoted");
      cycles.set(tenant, cycle.datasetId as string);
    }
    const serving = () => tenants.filter((tenant) => router.activeAdapter(scopedDomain(domain, tenant)) !== null);
    const rowsOf = async (tenant: string | null) => {
      let rows = 0;
      for await (const { sample } of datasets.items(cycles.get(tenant) as string)) if (sample.subjectId === "user-1") rows++;
      return rows;
    };
    const before = await Promise.all(tenants.map(rowsOf));
    expect(Math.min(...before)).toBeGreaterThan(0);
    const report = await pipeline.eraseSubject("user-1", { tenant: "Stadt Bonn" });
    expect(report.adapters.map((adapter) => adapter.domain)).toEqual([scopedDomain(domain, "Stadt Bonn")]);
    expect(serving()).toEqual(["ulm", null]);
    expect(await Promise.all(tenants.map(rowsOf))).toEqual([before[0], 0, before[2]]);
    const texts = await store.db
      .selectFrom("feedback")
      .select(["domain", "prompt"])
      .where("pipeline", "=", pipeline.status().name)
      .where("subject_id", "=", "user-1")
      .execute();
    expect(texts).toHaveLength(2 * report.feedback);
    expect(texts.filter(({ domain: of, prompt }) => prompt === null || of === scopedDomain(domain, "Stadt Bonn"))).toEqual([]);
    await expect(pipeline.eraseSubject("user-1", { tenant: "" })).rejects.toMatchObject({ code: "input_invalid" });
    const rest = await pipeline.eraseSubject("user-1");
    expect(rest.feedback).toBe(2 * report.feedback);
    expect(serving()).toEqual([]);
  });

  it("brings its own documents to its own cycle, and its own adapter to the host's evaluators (A42)", async () => {
    const asked: unknown[] = [];
    const rooms = buildRooms(store, {
      augmentWithSearch: true,
      evaluators: [
        {
          name: "speaks",
          evaluate: async ({ candidate, serving }) => {
            await serving.generate({ prompt: "How well does it speak?", adapterId: candidate.adapterId, metadata: { of: "test" } });
            return { baseline: [0, 1], candidate: [0, 1] };
          },
        },
      ],
    });
    const { generate } = rooms.serving;
    rooms.serving.generate = (request: { prompt: string; adapterId?: string | null; metadata?: unknown }) => {
      if (request.prompt === "How well does it speak?") asked.push(request.metadata);
      return generate.call(rooms.serving, request);
    };
    const area = newDomain();
    const searched: unknown[] = [];
    const { search } = rooms.datasets;
    rooms.datasets.search = (query, options) => {
      searched.push(query.filters);
      return search.call(rooms.datasets, query, options);
    };
    for (const tenant of ["Stadt Bonn", null]) {
      await addAll(rooms.pipeline, lessons(facts(24), tenant, area));
      const domain = scopedDomain(area, tenant);
      expect((await rooms.pipeline.triggerTrainingCycle({ domain, wait: true })).status).toBe("promoted");
      expect(plainDomain(domain)).toBe(area);
    }
    expect(asked).toEqual([{ of: "test", tenant: "Stadt Bonn" }, { of: "test" }]);
    expect(new Set(searched.map((filters) => JSON.stringify(filters)))).toEqual(
      new Set([JSON.stringify({ domain: area, tenant: "Stadt Bonn" }), JSON.stringify({ domain: area })]),
    );
  });
});
