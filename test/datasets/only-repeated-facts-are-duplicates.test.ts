import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DuplicateIndex } from "../../src/datasets/index.js";
import { jaccard, shinglesOf } from "../../src/datasets/shingles.js";
import { normaliseText } from "../../src/datasets/text-normalisation.js";

function kindOf(first: { prompt: string; response: string }, second: { prompt: string; response: string }): string | undefined {
  const index = new DuplicateIndex();
  index.add("first", first);
  return index.find(second)?.kind;
}

const longPrompt =
  "Ich möchte auf dem Dach meines Hauses in Leipzig eine Anlage für Photovoltaik errichten und dafür bei der zuständigen Behörde einen Antrag auf Genehmigung stellen, der alle nötigen Unterlagen enthält; " +
  "welches Formular brauche ich dafür, wie hoch ist die Gebühr, und wie lange dauert die Bearbeitung des Antrags bei der Behörde im Durchschnitt?";
const longResponse =
  "Sie brauchen das Formular G92. Die Gebühr beträgt 125 Euro, und die Bearbeitung des Antrags bei der Behörde dauert im Durchschnitt acht Wochen, wenn die Unterlagen vollständig eingereicht worden sind und die Behörde nicht widerspricht.";

describe("duplicates", () => {
  it("are exact whatever the case, the punctuation, the white space and the Unicode form", () => {
    const first = { prompt: "Wo ist das Büro?", response: "Im ersten Stock." };
    expect(kindOf(first, { prompt: " wo ist  das BÜRO ", response: "im ersten Stock" })).toBe("exact");
    expect(kindOf(first, { prompt: "Wo ist das Büro?".normalize("NFD"), response: "Im ersten\u00AD Stock!" })).toBe("exact");
  });

  it("are not other phrasings of a question, which are what a model learns from", () => {
    const response = "The opening hour of the greenhouse is 9 o'clock.";
    expect(
      kindOf(
        { prompt: "What is the opening hour of the greenhouse?", response },
        { prompt: "Tell me the opening hour of the greenhouse.", response },
      ),
    ).toBeUndefined();
    expect(
      kindOf(
        { prompt: "Tell me the opening hour of the greenhouse.", response },
        { prompt: "Please tell me the opening hour of the greenhouse.", response },
      ),
    ).toBeUndefined();
    expect(
      kindOf({ prompt: "Wie lange dauert es?", response: longResponse }, { prompt: "Was brauche ich?", response: longResponse }),
    ).toBeUndefined();
  });

  it("are near where only a letter differs in a long text", () => {
    expect(
      kindOf(
        { prompt: longPrompt, response: longResponse },
        { prompt: longPrompt.replace("errichten", "erichten"), response: longResponse },
      ),
    ).toBe("near");
  });

  it.each([
    ["a number", "125 Euro", "126 Euro"],
    ["a form", "G92", "G93"],
    ["a number word", "acht Wochen", "neun Wochen"],
    ["a negation", "nicht widerspricht", "immer widerspricht"],
    ["a name", "Formular", "Exemplar"],
  ])("are not facts that differ in %s", (_what, from, to) => {
    expect(
      kindOf({ prompt: longPrompt, response: longResponse }, { prompt: longPrompt, response: longResponse.replace(from, to) }),
    ).toBeUndefined();
  });

  it.each([
    ["-5", "5"],
    ["1.5", "15"],
    ["C++", "C"],
    ["50 %", "50 €"],
    ["x < y", "x > y"],
    ["?", "!"],
  ])("are not %s and %s", (left, right) => {
    expect(normaliseText(left)).not.toBe(normaliseText(right));
  });

  it("normalise the same text again to itself", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        expect(normaliseText(normaliseText(text))).toBe(normaliseText(text));
      }),
    );
  });

  it("find themselves, always", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" }), (prompt, response) => {
        expect(kindOf({ prompt, response }, { prompt, response })).toBe("exact");
      }),
    );
  });

  it("never differ in a digit", () => {
    const words = fc.array(fc.constantFrom("antrag", "frist", "behörde", "gebühr", "genehmigung", "unterlagen", "bescheid"), {
      minLength: 60,
      maxLength: 120,
    });
    fc.assert(
      fc.property(
        words,
        fc.nat(59),
        fc.integer({ min: 10, max: 99_999 }),
        fc.integer({ min: 10, max: 99_999 }),
        (parts, at, left, right) => {
          fc.pre(left !== right);
          const text = (value: number) => (parts as string[]).toSpliced(at, 0, String(value)).join(" ");
          expect(kindOf({ prompt: "frage", response: text(left) }, { prompt: "frage", response: text(right) })).toBeUndefined();
        },
      ),
      { numRuns: 50 },
    );
  });

  it("are found by MinHash wherever counting finds them", () => {
    const index = new DuplicateIndex();
    const text = fc.stringMatching(/^[a-f ]{300,400}$/);
    fc.assert(
      fc.property(text, fc.nat(299), (original, at) => {
        const changed = `${original.slice(0, at)}g${original.slice(at)}`;
        const [left, right] = [normaliseText(original), normaliseText(changed)];
        fc.pre(left !== right && jaccard(shinglesOf(left), shinglesOf(right)) >= 0.95);
        const id = `entry ${index.size}`;
        index.add(id, { prompt: original, response: "antwort" });
        expect(index.find({ prompt: changed, response: "antwort" })?.kind).toBe("near");
      }),
      { numRuns: 50 },
    );
  });
});
