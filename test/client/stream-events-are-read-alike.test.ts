import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { readStreamEvent } from "../../src/client/engines/completion-wire.js";
import { StreamEventReader } from "../../src/client/engines/stream-event-reader.js";

/** Texts that also stand elsewhere in an event, need escapes, or look like the end of one. */
const texts = fc.oneof(
  fc.string({ unit: "binary", maxLength: 6 }),
  fc.constantFrom(
    "choices",
    "content",
    "base",
    "stop",
    "delta",
    "?",
    "base?",
    '"',
    "\\",
    "\n",
    '"},"finish_reason":"stop"}]}',
    '","text":"',
  ),
);
const common = { id: fc.constantFrom("a", "b"), model: fc.constantFrom("base", "choices", undefined) };
const finishes = fc.constantFrom(null, null, null, "stop", "base");
const call = { index: 0, id: "c", function: { name: "f", arguments: "{}" } };
const chat = fc
  .record({
    ...common,
    content: texts,
    finish: finishes,
    calls: fc.constantFrom(undefined, undefined, [], [call]),
    isModelLast: fc.boolean(),
  })
  .map(({ id, model, content, finish, calls, isModelLast }) => {
    const choices = [{ index: 0, delta: { content, tool_calls: calls }, finish_reason: finish }];
    return isModelLast ? { id, choices, model } : { id, model, choices };
  });
const others = fc.oneof(
  fc.record({ ...common, text: texts }).map(({ id, model, text }) => ({ id, model, choices: [{ index: 0, text }] })),
  fc.record({ usage: fc.record({ prompt_tokens: fc.nat(), completion_tokens: fc.nat() }) }).map((last) => ({ choices: [], ...last })),
  fc.constant({ choices: [{ delta: { tool_calls: [call] } }] }),
  fc.constant({ error: { message: "broken" } }),
);
/** JSON, written with or without spaces, with every character beyond ASCII escaped or none, and now and then cut. */
const written = fc
  .record({
    event: fc.oneof({ weight: 4, arbitrary: chat }, others),
    space: fc.constantFrom("", "", " "),
    isAscii: fc.boolean(),
    cut: fc.oneof({ weight: 9, arbitrary: fc.constant(null) }, fc.nat({ max: 120 })),
  })
  .map(({ event, space, isAscii, cut }) => {
    const json = JSON.stringify(event, null, space).replaceAll("\n", " ");
    const ascii = json.replace(/[^ -~]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
    const text = isAscii ? ascii : json;
    return cut === null ? text : text.slice(0, cut);
  });

function outcomeOf(read: () => unknown): unknown {
  try {
    return read();
  } catch (error) {
    return { thrown: (error as Error).constructor.name, message: (error as Error).message };
  }
}

describe("the events of a stream", () => {
  it("are read as each is by itself, whatever came before", () => {
    fc.assert(
      fc.property(fc.array(written, { minLength: 1, maxLength: 12 }), (events) => {
        const reader = new StreamEventReader();
        for (const data of events) expect(outcomeOf(() => reader.read(data))).toEqual(outcomeOf(() => readStreamEvent(data)));
      }),
      { numRuns: 2_000 },
    );
  });

  it("are read as each is by itself where the text of one is no JSON string", () => {
    const event = (text: string) => `{"choices":[{"delta":{"content":${text}}}]}`;
    for (const raw of ['"', '"a""', '"\\"', '"\\n"', '"\t"', '"\u0000"', '"","x":""', '"\u007f"', '"\u2028"', '"é"', '"🔑"', "null", "7"]) {
      const reader = new StreamEventReader();
      reader.read(event('" word"'));
      expect(outcomeOf(() => reader.read(event(raw)))).toEqual(outcomeOf(() => readStreamEvent(event(raw))));
    }
  });

  it("are read as each is by itself where another value has the same characters as the text", () => {
    const event = (model: string, finish: string | null) =>
      JSON.stringify({ choices: [{ delta: { content: "base" }, finish_reason: finish }], model });
    const reader = new StreamEventReader();
    expect(reader.read(event("base", null)).text).toBe("base");
    expect(reader.read(event("other", null))).toMatchObject({ text: "base", model: "other" });
    expect(reader.read(event("base", "base"))).toMatchObject({ text: "base", finishReason: "base" });
    expect(reader.read(event("base", "stop"))).toMatchObject({ text: "base", finishReason: "stop" });
  });

  it("are parsed as JSON only until the place of the text is known", () => {
    const reader = new StreamEventReader();
    const event = (content: string) => JSON.stringify({ model: "base", choices: [{ delta: { content } }] });
    reader.read(event(" first"));
    const parse = vi.spyOn(JSON, "parse");
    const read = [" second", "base", "delta"].map((text) => reader.read(event(text)).text);
    const parsed = parse.mock.calls.length;
    vi.restoreAllMocks();
    expect(read).toEqual([" second", "base", "delta"]);
    expect(parsed).toBe(0);
  });

  it("are parsed once each where more than the text changes with every event, after four that were looked into", () => {
    const reader = new StreamEventReader();
    const event = (number: number) => JSON.stringify({ created: number, choices: [{ delta: { content: ` word${number}` } }] });
    const parse = vi.spyOn(JSON, "parse");
    for (let number = 0; number < 20; number += 1) reader.read(event(number));
    const parsed = parse.mock.calls.length;
    vi.restoreAllMocks();
    expect(parsed).toBe(20 + 4);
  });
});
