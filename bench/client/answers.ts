/** What the server of the client bench answers, by the first part of its path, and what every contender must have read. */
import { CompletionWire, tokenise } from "../../src/testing/completion-wire.js";

const TOKENS = 64;
/** Of the answers that are broken off, what arrives. */
const TOKENS_BEFORE_CLOSE = 32;
export const MODEL = "base";
export const PROMPT = "Which key opens the greenhouse?";

/** How an answer comes: its packets, and whether the connection is closed in its midst. */
export interface Answer {
  text: string;
  packets: Buffer[];
  isBrokenOff: boolean;
  /** One of so many requests is refused with 429 first. */
  refusedOneIn: number;
}

/** The events of one answer as vLLM writes them. */
function eventsOf(tokens: readonly string[]): string[] {
  const wire = new CompletionWire(true, "chatcmpl-bench", MODEL, tokenise(tokens, { messages: [{ role: "user", content: PROMPT }] }));
  const events = [wire.opening(), ...tokens.map((_, index) => wire.token(index)), wire.closing()];
  return [...events.map((event) => `data: ${JSON.stringify(event)}\n\n`), "data: [DONE]\n\n"];
}

/** Packets that each end in the midst of a code point, one a token. */
function cutInsideCodePoints(events: readonly string[], codePoint: string): Buffer[] {
  const whole = Buffer.from(events.join(""));
  const packets: Buffer[] = [];
  let start = 0;
  for (let found = whole.indexOf(codePoint); found >= 0; found = whole.indexOf(codePoint, found + 1)) {
    packets.push(whole.subarray(start, found + 1));
    start = found + 1;
  }
  return [...packets, whole.subarray(start)];
}

const plain = Array.from({ length: TOKENS }, (_, index) => ` word${index % 10}`);
const wide = Array.from({ length: TOKENS }, (_, index) => ` 鍵${index % 10}🔑`);
const packets = eventsOf(plain).map((event) => Buffer.from(event));
const whole = { text: plain.join(""), isBrokenOff: false, refusedOneIn: Number.POSITIVE_INFINITY };

export const answers = {
  /** One token a packet. */
  tokens: { ...whole, packets },
  /** Every event in one packet. */
  coalesced: { ...whole, packets: [Buffer.concat(packets)] },
  /** Packets that end in the midst of a code point. */
  split: { ...whole, text: wide.join(""), packets: cutInsideCodePoints(eventsOf(wide), "🔑") },
  /** One token a packet, and 1 % of the requests are refused. */
  refused: { ...whole, packets, refusedOneIn: 100 },
  /** The connection is closed after half of the tokens; the first event has none. */
  closed: {
    ...whole,
    text: plain.slice(0, TOKENS_BEFORE_CLOSE).join(""),
    packets: packets.slice(0, TOKENS_BEFORE_CLOSE + 1),
    isBrokenOff: true,
  },
} satisfies Record<string, Answer>;

export type Shape = keyof typeof answers;
