import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DuplicateIndex, QualityChecker, type TrainingSource } from "../../src/datasets/index.js";
import { type PrepareOptions, prepareCandidates, toCandidates } from "../../src/datasets/preparation.js";
import { normaliseText } from "../../src/datasets/text-normalisation.js";
import { type PreparedData, PreparedData as PreparedDataSchema, type Sample, type SearchResult } from "../../src/types/index.js";

const quality = new QualityChecker();
const prepare = (sources: readonly TrainingSource[], options: PrepareOptions = {}) =>
  prepareCandidates(toCandidates(sources, options.domain), options, { quality });

const FRAMES = [
  (thing: string) => `Welche Frist gilt für ${thing}?`,
  (thing: string) => `Wie lang ist die Frist für ${thing}?`,
  (thing: string) => `Nenne mir die Frist für ${thing}.`,
  (thing: string) => `Wie viel Zeit habe ich bei ${thing}?`,
];

/** Facts with as many phrasings as `phrasings` says for each. */
function facts(phrasings: readonly number[]): Sample[] {
  return phrasings.flatMap((count, fact) =>
    FRAMES.slice(0, count).map((frame, index) =>
      sample(`s${fact}-${index}`, frame(`Antrag ${fact + 100}`), `Die Frist für Antrag ${fact + 100} beträgt ${fact + 3} Tage.`),
    ),
  );
}

function sample(id: string, prompt: string, response: string, changes: Partial<Sample> = {}): Sample {
  return {
    id,
    prompt,
    response,
    objective: "imitate",
    rating: 1,
    importance: 3,
    domain: "recht",
    source: "test",
    qualityScore: 0.9,
    ...changes,
  };
}

function in_(prepared: PreparedData, split: string): Sample[] {
  return prepared.items.filter((item) => item.split === split).map((item) => item.sample);
}

const reasonOf = (prepared: PreparedData, id: string) => prepared.report.removed.find((removal) => removal.sampleId === id)?.reason;

describe("prepared training data", () => {
  it("hold out one phrasing of every fact that has three", async () => {
    const prepared = await prepare(facts([4, 3, 4]));
    expect(prepared.statistics.splits).toEqual({ train: 8, recall: 3, generalisation: 0, preference: 0 });
    expect(PreparedDataSchema.safeParse(prepared).success).toBe(true);
  });

  it("draw on facts with two phrasings, a third of them at most, while there are fewer than twenty", async () => {
    const pairs = await prepare(facts(new Array(40).fill(2)));
    expect(pairs.statistics.splits).toMatchObject({ generalisation: 4, recall: 12, train: 80 - 12 - 4 });
    const rich = await prepare(facts([...new Array(24).fill(3), ...new Array(9).fill(2)]), { holdout: { generalisation: false } });
    expect(rich.statistics.splits.recall).toBe(24);
    expect(in_(rich, "recall").every((held) => Number(held.id.slice(1).split("-")[0]) < 24)).toBe(true);
  });

  it.each([
    [9, 0],
    [10, 2],
    [100, 5],
    [400, 12],
  ])("keep of %i facts %i out whole", async (count, expected) => {
    const prepared = await prepare(facts(new Array(count).fill(1)));
    expect(prepared.statistics.splits.generalisation).toBe(expected);
    const learnt = new Set(in_(prepared, "train").map((row) => row.response));
    expect(in_(prepared, "generalisation").some((row) => learnt.has(row.response))).toBe(false);
  });

  it("learn from all where nothing is to be held out", async () => {
    const prepared = await prepare(facts([4, 4, 4, 1, 1, 1, 1, 1, 1, 1, 1, 1]), { holdout: false });
    expect(prepared.statistics.splits).toMatchObject({ train: 21, recall: 0, generalisation: 0 });
  });

  it("say that one line cannot be split, when that is asked for", async () => {
    const single = facts([1]);
    expect((await prepare(single)).statistics.splits.train).toBe(1);
    await expect(prepare(single, { holdout: { required: true } })).rejects.toMatchObject({
      code: "dataset_too_small",
      details: { samples: 1 },
    });
  });

  it("never hold out a question that is answered elsewhere, nor one of unrelated yes-or-no questions", async () => {
    const shared = "Gilt das auch sonntags?";
    const contradicted = [
      sample("a1", shared, "Nur mit Genehmigung der Stadt."),
      sample("a2", "Darf ich sonntags bauen?", "Nur mit Genehmigung der Stadt."),
      sample("a3", "Ist sonntags Bauen erlaubt?", "Nur mit Genehmigung der Stadt."),
      sample("b1", shared, "Das ist verboten."),
    ];
    for (const seed of ["1", "2", "3", "4", "5", "6"]) {
      expect(in_(await prepare(contradicted, { holdout: { seed } }), "recall").map((row) => row.prompt)).not.toContain(shared);
    }
    const yes = ["Ist das Büro offen?", "Braucht es einen Antrag?", "Kostet es etwas?", "Gibt es Kaffee?"].map((prompt, index) =>
      sample(`y${index}`, prompt, "Ja."),
    );
    expect((await prepare(yes)).statistics.splits).toMatchObject({ train: 4, recall: 0 });
  });

  it("take thumbs on held-out questions away, and prefer questions without thumbs", async () => {
    const taught = facts([3]);
    const thumb = (id: string, prompt: string) => sample(id, prompt, "Weiß ich leider gar nicht.", { objective: "preference", rating: -1 });
    const spared = await prepare([...taught, thumb("p1", taught[0]!.prompt), thumb("p2", taught[1]!.prompt)]);
    expect(spared.statistics.splits).toEqual({ train: 2, recall: 1, generalisation: 0, preference: 2 });
    expect(in_(spared, "recall")[0]!.id).toBe("s0-2");
    const all = await prepare([...taught, ...taught.map((row, index) => thumb(`p${index}`, row.prompt))]);
    expect(all.statistics.splits).toEqual({ train: 2, recall: 1, generalisation: 0, preference: 2 });
    expect(all.report.removed).toEqual([{ sampleId: expect.stringMatching(/^p/), reason: expect.stringMatching(/^held_out_question/) }]);
  });

  it("give every removed sample a reason", async () => {
    const [good] = facts([1]) as [Sample];
    const sources = [
      good,
      { ...good, id: "z-repeat", prompt: good.prompt.toUpperCase() },
      sample("junk", "Wo ist das Büro?", "asdfghjkl asdfgh"),
      sample("broken", "Wo ist das Büro?", "Im Hof\uFFFD"),
      sample("weak", "Wo ist das Archiv?", "Im Keller.", { qualityScore: 0.3 }),
      sample(
        "long",
        "Erzähle mir alles darüber.",
        "Der Antrag ist schriftlich bei der Behörde zu stellen, sie prüft ihn binnen vier Wochen und teilt das Ergebnis durch einen Bescheid mit.",
      ),
      sample("twice", "Eine andere Frage?", "Eine andere Antwort."),
      sample("twice", "Noch eine Frage?", "Noch eine Antwort."),
    ];
    const prepared = await prepare(sources, { maxLength: 40 });
    expect(prepared.report).toMatchObject({ received: 8, kept: 2 });
    expect(reasonOf(prepared, "z-repeat")).toMatch(/^exact_duplicate: repeats s0-0/);
    expect(reasonOf(prepared, "junk")).toMatch(/^quality_repetition: /);
    expect(reasonOf(prepared, "broken")).toMatch(/^quality_encoding: .*U\+FFFD/);
    expect(reasonOf(prepared, "weak")).toBe("quality_score: 0.3 is below 0.5");
    expect(reasonOf(prepared, "long")).toMatch(/^too_long: about \d+ tokens; at most 40/);
    expect(reasonOf(prepared, "twice")).toMatch(/^duplicate_id/);
  });

  it("count with the tokenizer that they are given, and say when they estimate", async () => {
    const tokenizer = { name: "words", count: (texts: readonly string[]) => texts.map((text) => text.split(/\s+/).length) };
    const sources = facts([1]);
    const counted = await prepareCandidates(toCandidates(sources), {}, { quality, tokenizer });
    expect(counted.statistics).toMatchObject({
      tokensAreEstimated: false,
      tokens: `${sources[0]!.prompt}\n${sources[0]!.response}`.split(/\s+/).length,
    });
    expect((await prepare(sources)).statistics.tokensAreEstimated).toBe(true);
  });

  it("keep repeated samples when asked to, each accounted for", async () => {
    const pair = { prompt: "Wo ist das Büro?", response: "Im ersten Stock links." };
    const prepared = await prepare([pair, pair, pair], { removeDuplicates: false });
    expect(prepared.report).toEqual({ received: 3, kept: 3, removed: [] });
    expect(new Set(prepared.items.map((item) => item.sample.id)).size).toBe(3);
  });

  it("turn search results into questions and answers, or say why not", async () => {
    const result = (id: string, content: string, metadata: SearchResult["metadata"] = {}): SearchResult => ({
      id,
      content,
      score: 0.8,
      scores: { keyword: 0.8 },
      source: "corpus",
      metadata,
    });
    const prepared = await prepare([
      result("titled", "Der Antrag ist schriftlich zu stellen und muss alle Unterlagen enthalten.", { title: "Antrag", domain: "recht" }),
      result("untitled", "Die Frist beträgt einen Monat. Sie beginnt mit der Zustellung des Bescheides an den Betroffenen."),
      result("fragment", "Ein einziger Satz ohne Überschrift und ohne jede Fortsetzung"),
    ]);
    const learnt = in_(prepared, "train").toSorted((left, right) => (left.id < right.id ? -1 : 1));
    expect(learnt.map(({ id, prompt, source, domain }) => ({ id, prompt, source, domain }))).toEqual([
      { id: "titled", prompt: "Antrag", source: "retrieved", domain: "recht" },
      { id: "untitled", prompt: "Die Frist beträgt einen Monat.", source: "retrieved", domain: "general" },
    ]);
    expect(reasonOf(prepared, "fragment")).toMatch(/^no_question/);
  });

  it.each([{ prompt: 5, response: "x" }, { prompt: "x" }, null, "text"])(
    "refuse what is no sample, naming its place: %j",
    async (wrong) => {
      const sources = [{ prompt: "a b", response: "c d" }, wrong] as TrainingSource[];
      await expect(async () => prepare(sources)).rejects.toMatchObject({ code: "input_invalid", details: { index: 1 } });
    },
  );

  it("stop when aborted", async () => {
    const controller = new AbortController();
    controller.abort();
    await expect(prepareCandidates(toCandidates(facts([2])), {}, { quality }, { signal: controller.signal })).rejects.toMatchObject({
      code: "aborted",
    });
  });

  const words = fc
    .array(fc.constantFrom("Antrag", "Frist", "gilt", "wo", "wann", "Büro", "7", "8", "nicht", "Stadt"), { minLength: 1, maxLength: 5 })
    .map((parts) => parts.join(" "));
  const anySample = fc.record({
    id: fc.integer({ min: 0, max: 500 }).map(String),
    prompt: fc.oneof(
      words,
      words.map((text) => `${text}?`),
      words.map((text) => text.toUpperCase()),
    ),
    response: fc.oneof(
      fc.constantFrom("Im ersten Stock.", "Einen Monat.", "Ja.", "G92", "", "aaaaaaa", "Heute Morgen um 9:00 Uhr."),
      fc.integer({ min: 0, max: 30 }).map((number) => `Der Raum ${number} ist es.`),
    ),
    objective: fc.constantFrom("imitate" as const, "imitate" as const, "preference" as const),
    importance: fc.integer({ min: 1, max: 5 }),
  });
  const anySamples = fc.array(anySample, { maxLength: 120 });

  it("put every sample into exactly one split, or remove it with a reason", async () => {
    await fc.assert(
      fc.asyncProperty(anySamples, fc.boolean(), async (samples, removeDuplicates) => {
        const prepared = await prepare(samples, { removeDuplicates });
        const accounted = [
          ...prepared.items.map((item) => item.sample.id),
          ...prepared.report.removed.map((removal) => removal.sampleId),
        ].sort();
        expect(accounted).toEqual(samples.map((row) => row.id).sort());
        expect(prepared.report.removed.every((removal) => removal.reason.length > 3)).toBe(true);
        expect(prepared.items.every((item) => (item.sample.objective === "preference") === (item.split === "preference"))).toBe(true);
      }),
      { numRuns: 40 },
    );
  });

  it("never hold out a question that stands on another side, nor a whole fact that is learnt", async () => {
    await fc.assert(
      fc.asyncProperty(anySamples, fc.boolean(), async (samples, removeDuplicates) => {
        const prepared = await prepare(samples, { removeDuplicates });
        const sideOf = new Map<string, string>();
        const learntGroups = new Set(
          prepared.items.filter((item) => item.split === "train" || item.split === "recall").map((item) => item.group),
        );
        const index = new DuplicateIndex();
        for (const { sample: row, split, group } of prepared.items) {
          const question = normaliseText(row.prompt);
          const side = split === "preference" ? "train" : split;
          expect(sideOf.get(question) ?? side).toBe(side);
          sideOf.set(question, side);
          if (split === "generalisation") expect(learntGroups.has(group)).toBe(false);
          if (split === "recall") expect(prepared.items.some((other) => other.split === "train" && other.group === group)).toBe(true);
          if (side === "train") index.add(question, { prompt: row.prompt, response: "" });
        }
        for (const { sample: row, split } of prepared.items) {
          if (split === "recall" || split === "generalisation") expect(index.find({ prompt: row.prompt, response: "" })).toBeNull();
        }
      }),
      { numRuns: 60 },
    );
  });

  it("do not depend on the order of the samples", async () => {
    const shuffled = anySamples.chain((samples) =>
      fc.tuple(fc.constant(samples), fc.shuffledSubarray(samples, { minLength: samples.length })),
    );
    await fc.assert(
      fc.asyncProperty(shuffled, async ([samples, others]) => {
        expect(await prepare(others)).toEqual(await prepare(samples));
      }),
      { numRuns: 40 },
    );
  });
});
