import { once } from "node:events";
import { performance } from "node:perf_hooks";
import { describe, expect, it } from "vitest";
import { QualityChecker, type ToxicityClassifier } from "../../src/datasets/index.js";
import { prepareCandidates, toCandidates } from "../../src/datasets/preparation.js";

const good = { prompt: "Welche Frist gilt für den Widerspruch?", response: "Die Frist für den Widerspruch beträgt einen Monat." };

/** Rates a text by the number that stands in it. */
const rating: ToxicityClassifier = {
  name: "rating",
  classify: async (texts) => texts.map((text) => ({ score: Number(/0\.\d+/.exec(text)?.[0] ?? 0), label: "insult" })),
};

describe("a classifier of the host's own", () => {
  it("rejects from its threshold on, and says which text, by whom and why", async () => {
    const checker = new QualityChecker({ classifiers: [rating] });
    const report = await checker.check({ ...good, response: "Diese Antwort ist zu 0.75 unfreundlich, und zwar sehr." });
    expect(report).toMatchObject({ passed: false });
    expect(report.checks.find((check) => check.name === "toxicity")).toEqual({
      name: "toxicity",
      score: 0.25,
      passed: false,
      code: "toxic",
      reason: "the answer: rating rates it 0.75 (insult); below 0.5 passes",
    });
    const tolerant = new QualityChecker({ classifiers: [{ ...rating, threshold: 0.8 }] });
    expect(await tolerant.check({ ...good, prompt: "Ist das zu 0.75 unfreundlich gefragt?" })).toMatchObject({ passed: true });
  });

  it("counts where it is the strictest of several", async () => {
    const harmless: ToxicityClassifier = { name: "harmless", classify: async (texts) => texts.map(() => ({ score: 0 })) };
    const report = await new QualityChecker({ classifiers: [harmless, rating, harmless] }).check({
      ...good,
      prompt: "Zu 0.9 schlimm, oder?",
    });
    expect(report.checks.find((check) => !check.passed)?.reason).toMatch(/^the question: rating rates it 0.90/);
  });

  it("takes samples out of training data by name, but not rated answers, which are not imitated", async () => {
    const quality = new QualityChecker({ classifiers: [rating] });
    const rude = { id: "rude", prompt: "Wo ist das Büro?", response: "Such es selbst, zu 0.9 jedenfalls." };
    const rated = { ...rude, id: "rated", objective: "preference" as const, rating: -1 };
    const { items, report } = await prepareCandidates(toCandidates([rude, rated]), {}, { quality });
    expect(items.map((item) => item.sample.id)).toEqual(["rated"]);
    expect(report.removed).toEqual([{ sampleId: "rude", reason: expect.stringMatching(/^quality_toxicity: the answer: rating/) }]);
  });

  it("that hangs, fails or answers nonsense is an error with its name, never a verdict", async () => {
    const check = (classify: ToxicityClassifier["classify"]) =>
      new QualityChecker({ classifiers: [{ name: "broken", classify }], classifierTimeoutMs: 20 }).check(good);
    const hanging = check((_texts, { signal }) => once(signal!, "never").then(() => []));
    await expect(hanging).rejects.toMatchObject({ code: "request_timeout", isRetryable: true, details: { classifier: "broken" } });
    await expect(check(() => new Promise(() => {}))).rejects.toMatchObject({ code: "request_timeout" });
    await expect(check(async () => Promise.reject(new Error("out of memory")))).rejects.toMatchObject({
      code: "engine_error",
      message: expect.stringContaining("broken failed: out of memory"),
    });
    for (const answer of [[], [{ score: 0 }], [{ score: 2 }, { score: 0 }], [{ score: Number.NaN }, { score: 0 }], null]) {
      await expect(check(async () => answer as { score: number }[])).rejects.toMatchObject({ code: "engine_response_invalid" });
    }
  });

  it("stops with its caller", async () => {
    const controller = new AbortController();
    const checker = new QualityChecker({ classifiers: [{ name: "slow", classify: () => new Promise(() => controller.abort()) }] });
    await expect(checker.check(good, { signal: controller.signal })).rejects.toMatchObject({ code: "aborted" });
  });
});

describe("languages", () => {
  const english = { prompt: "What is the deadline for the appeal?", response: "The deadline for the appeal is one month from today." };

  it("are judged only where some are expected, and only where a text's own is clear", async () => {
    const german = new QualityChecker({ languages: ["german"] });
    expect(await german.check(good)).toMatchObject({ passed: true, score: 1 });
    expect((await german.check({ prompt: "G92?", response: "87 EUR" })).passed).toBe(true);
    const report = await german.check(english);
    expect(report.checks.find((check) => !check.passed)).toEqual({
      name: "language",
      score: 0,
      passed: false,
      code: "language_unexpected",
      reason: "the language is english, not german",
    });
    expect((await new QualityChecker({ languages: ["german", "english"] }).check(english)).passed).toBe(true);
    expect((await new QualityChecker().check(english)).checks.some((check) => check.name === "language")).toBe(false);
  });

  it("may be named by a detector of the host's own", async () => {
    const checker = new QualityChecker({ languages: ["de", "fr"], detectLanguage: (text) => (text.includes("délai") ? "fr" : "en") });
    expect((await checker.check({ prompt: "Quel est le délai ?", response: "Le délai est d'un mois à partir de demain." })).passed).toBe(
      true,
    );
    expect((await checker.check(english)).passed).toBe(false);
  });
});

it("every failed check has a code for programs", async () => {
  const checker = new QualityChecker({ classifiers: [rating], languages: ["german"] });
  const codes: (string | undefined)[] = [];
  for (const response of [
    "",
    "?!",
    "x",
    "a".repeat(3000),
    "asdfghjkl asdfgh",
    "Im Hof\uFFFD",
    "Du Arschloch, such es doch selbst",
    "zu 0.9",
  ]) {
    const { checks } = await checker.check({ prompt: good.prompt, response });
    codes.push(checks.find((check) => !check.passed)?.code);
  }
  expect(codes).toEqual(["empty", "no_word", "single_letter", "too_long", "repetitive", "encoding_invalid", "profane", "toxic"]);
  expect((await checker.check({ prompt: "", response: "kurz" }, { kind: "document" })).checks[0]?.code).toBe("too_short");
});

it("no text takes long, not even one that a host lets be long (A25)", async () => {
  const checker = new QualityChecker({ maxLength: 20_000_000, languages: ["german"] });
  const size = 200_000;
  const texts = ["a", "ab", "abcd", "f*", "@", "Ã¼", "e\u0301", "1.", "\u200B", "a'", "adolf fick ", "-5,", "🙂"].map(
    (unit) => `${unit.repeat(size / unit.length)}!`,
  );
  const started = performance.now();
  for (const response of texts) await checker.check({ prompt: "Wo?", response });
  // Linear: some three seconds on one core; a quadratic expression would take minutes.
  expect(performance.now() - started).toBeLessThan(30_000);
});
