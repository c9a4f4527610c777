import { performance } from "node:perf_hooks";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { findEncodingFault } from "../../src/datasets/checks/encoding.js";
import { wordListClassifier } from "../../src/datasets/checks/profanity.js";
import { DuplicateIndex, type PersonalDataCheckOptions, QualityChecker } from "../../src/datasets/index.js";
import { prepareCandidates, toCandidates } from "../../src/datasets/preparation.js";
import { QualityReport } from "../../src/types/index.js";

const quality = new QualityChecker();
const good = { prompt: "Welche Frist gilt für den Widerspruch?", response: "Die Frist für den Widerspruch beträgt einen Monat." };

async function failedCheck(sample: { prompt: string; response: string }, kind?: "document"): Promise<string | undefined> {
  const report = await quality.check(sample, { kind });
  return report.checks.find((check) => !check.passed)?.name;
}

describe("quality checks", () => {
  it("pass a good pair with a full score", async () => {
    const report = await quality.check(good);
    expect(report).toMatchObject({ score: 1, passed: true });
    expect(QualityReport.safeParse(report).success).toBe(true);
  });

  it.each([
    ["an empty answer", "", "length"],
    ["a blank answer", " \n\t ", "length"],
    ["a single letter", "x", "length"],
    ["punctuation only", "...!?", "length"],
    ["one character over and over", "aaaaaaaaaaaaaaaa", "repetition"],
    ["keyboard mash", "asdfghjkl asdfgh", "repetition"],
    ["keyboard mash without vowels", "sdkfjhsdf ksdjfhsk", "repetition"],
    ["the same word again and again", "bla bla bla bla bla bla bla bla bla bla", "repetition"],
    ["a lone surrogate", "Im Hof \uD83D links", "encoding"],
    ["a replacement character", "Die Geb\uFFFDhr ist hoch", "encoding"],
    ["a control character", "Im Hof\u0007", "encoding"],
    ["UTF-8 read as Windows-1252", "Die GebÃ¼hr fÃ¼r die PrÃ¼fung", "encoding"],
    ["an insult", "Du bist ein Arschloch, such es selbst.", "profanity"],
    ["a disguised insult", "What the f*ck do you want, go and search", "profanity"],
    ["an insult in leetspeak", "This is sh1t, do it yourself", "profanity"],
  ])("reject %s and say why", async (_what, response, name) => {
    const report = await quality.check({ prompt: good.prompt, response });
    expect(report.passed).toBe(false);
    expect(report.score).toBeLessThan(0.5);
    expect(report.checks.find((check) => !check.passed)).toMatchObject({ name, reason: expect.stringMatching(/\w{3}/) });
  });

  it.each(["87.", "5", "Ja.", "Form G92.", "是的", "Nach § 5 BauGB.", "-12,5 °C", "-----\nA | B\n-----"])(
    "let a short answer pass with a lower score: %s",
    async (response) => {
      const short = await quality.check({ prompt: "Welche?", response });
      expect(short.passed).toBe(true);
      expect(short.score).toBeGreaterThanOrEqual(0.5);
      expect(short.score).toBeLessThan(1);
    },
  );

  it("ask documents for 50 to 2048 characters", async () => {
    const document = (response: string) => failedCheck({ prompt: "", response }, "document");
    const sentence = "Die Baugenehmigung wird schriftlich beantragt. ";
    expect(await document(sentence.trim())).toBe("length");
    expect(await document(sentence.repeat(2))).toBeUndefined();
    expect(await document("Wort für Wort. ".repeat(200))).toBe("length");
  });

  it.each([
    "Der Staatsanwalt aus Scunthorpe",
    "Was besagt das Fick’sche Gesetz der Diffusion?",
    "Wie dick muss die Dämmung sein, und was ist mit den Vögeln?",
    "How to kill a process on Linux?",
    "Welche Strafe steht auf Vergewaltigung nach dem Sexualstrafrecht?",
    "Assessment of the classic bass in Essex",
    "Die Analyse des Datensatzes, Kapitel XXX",
  ])("find nothing wrong with: %s", async (text) => {
    expect(await wordListClassifier().classify(text)).toMatchObject({ flagged: false, terms: [] });
  });

  it("take a classifier of the user's own instead of the word lists", async () => {
    const own = new QualityChecker({
      profanity: { name: "own", classify: async (text) => ({ flagged: text.includes("Frist"), score: 0.9, terms: ["Frist"] }) },
    });
    const report = await own.check(good);
    expect(report.checks.find((check) => check.name === "profanity")).toMatchObject({ passed: false, reason: 'own flagged it: "Frist"' });
  });

  it.each(["“Ä…” und Å–", "ÉCOLE À L’ÉTÉ", "São Paulo, NÃO", "Ñandú ½ ÷ ×", "naïve café – “à”", "Größe: 5 µm ± 1"])(
    "read as sound text: %s",
    (text) => {
      expect(findEncodingFault(text)).toBeNull();
    },
  );

  it("find every UTF-8 text that was read as Latin-1", () => {
    const umlauts = fc.stringMatching(/^[a-z ]{0,10}[äöüßÄÖÜéèñ€„–][a-z ]{0,10}$/);
    fc.assert(
      fc.property(umlauts, (text) => {
        expect(findEncodingFault(text)).toBeNull();
        expect(findEncodingFault(Buffer.from(text, "utf8").toString("latin1"))).not.toBeNull();
      }),
    );
  });

  it("judge duplicates by the index they are given", async () => {
    const duplicates = new DuplicateIndex();
    duplicates.add("first", good);
    const report = await quality.check({ prompt: "welche frist gilt für den widerspruch", response: `${good.response} ` }, { duplicates });
    expect(report.checks.find((check) => check.name === "exact_duplicate")).toMatchObject({ passed: false, reason: "it repeats first" });
  });

  it("stay neutral about a domain without a corpus", async () => {
    const report = await quality.check(good, { domain: "recht" });
    expect(report.checks.find((check) => check.name === "domain_relevance")).toMatchObject({
      score: 0.5,
      passed: true,
      reason: expect.stringContaining("recht"),
    });
    expect(report.score).toBe(1);
  });

  it("answer ten megabytes by their size, faster than reading them would take", async () => {
    const huge = { prompt: "a".repeat(10_000_000), response: "Ã¼ asdf fuck ".repeat(800_000) };
    const started = performance.now();
    const report = await quality.check(huge);
    expect(performance.now() - started).toBeLessThan(100);
    expect(report).toMatchObject({ passed: false, score: 0, checks: [{ name: "length" }] });
  });

  it("never take long, whatever the text within the limit", async () => {
    const hard = [
      "aaab".repeat(512),
      "(a+)+$ ".repeat(290),
      "ab".repeat(1024),
      `${" ".repeat(2000)}x`,
      "a’".repeat(1000),
      "f*".repeat(1000),
      "1.".repeat(1000),
    ];
    for (const response of hard) {
      const started = performance.now();
      await quality.check({ prompt: response.slice(0, 2048), response: response.slice(0, 2048) });
      expect(performance.now() - started).toBeLessThan(500);
    }
  });

  it("give a score of 0..1 to anything", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: "binary", maxLength: 300 }),
        fc.string({ unit: "grapheme", maxLength: 300 }),
        async (prompt, response) => {
          const report = await quality.check({ prompt, response });
          expect(QualityReport.safeParse(report).success).toBe(true);
          expect(report.passed).toBe(report.score >= quality.minScore && report.checks.every((check) => check.passed));
        },
      ),
    );
  });
});

describe("personal data", () => {
  const pair = { prompt: "Wie erreiche ich Frau Muster?", response: "Schreiben Sie an erika.muster@example.org, Telefon 030 90227 5000." };
  const check = async (personalData?: PersonalDataCheckOptions) => {
    const report = await new QualityChecker({ personalData }).check(pair);
    return { ...report.checks.find(({ name }) => name === "personal_data"), accepted: report.passed };
  };

  it("is looked for where the host asks for it, and named by its kinds alone", async () => {
    expect(await check()).toEqual({ accepted: true });
    const reason = "the answer holds personal data: email, phone";
    expect(await check({})).toMatchObject({ passed: true, score: 0.5, reason, accepted: true });
    expect(await check({ action: "reject" })).toMatchObject({ passed: false, code: "personal_data", reason, accepted: false });
    const names = await check({ kinds: ["name"], names: ["Frau Muster"], action: "reject" });
    expect(names).toMatchObject({ reason: "the question holds personal data: name", accepted: false });
    expect(await check({ action: "reject", allow: ["erika.muster@example.org", "030 90227 5000"] })).toMatchObject({
      score: 1,
      accepted: true,
    });
  });

  it("takes a sample out of training data, by name", async () => {
    const quality = new QualityChecker({ personalData: { action: "reject" } });
    const { report } = await prepareCandidates(toCandidates([{ id: "private", ...pair }]), {}, { quality });
    expect(report.removed).toEqual([{ sampleId: "private", reason: expect.stringMatching(/^quality_personal_data: the answer holds/) }]);
  });
});
