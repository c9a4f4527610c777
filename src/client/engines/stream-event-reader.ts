import { type CompletionEvent, readStreamEvent } from "./completion-wire.js";

/** What a JSON string holds as it is, without escapes (RFC 8259, 7). */
const UNESCAPED = /^[ !#-[\]-\uffff]*$/;
/** How often the place of the text is looked for in a stream: where other parts change with every event as well, it is never found again. */
const MAX_LEARNT = 4;

/**
 * Reads the events of one chat stream. Almost all of them differ in nothing but their text: what stands around it in one is looked for in
 * the next, and only an event that differs elsewhere, or whose text is escaped, is parsed as JSON, which is most of what a stream costs.
 */
export class StreamEventReader {
  private known: { event: CompletionEvent; before: string; after: string } | null = null;
  private learnt = 0;

  /** Throws `NotACompletion`. */
  read(data: string): CompletionEvent {
    const text = this.known === null ? null : textBetween(data, this.known.before, this.known.after);
    if (text !== null) {
      const { finishReason, model, usage } = this.known!.event;
      return { text, toolCalls: undefined, finishReason, model, usage };
    }
    const event = readStreamEvent(data);
    if (this.learnt < MAX_LEARNT) this.learn(data, event);
    return event;
  }

  private learn(data: string, event: CompletionEvent): void {
    const { text, toolCalls } = event;
    const start = data.lastIndexOf(`"${text}"`) + 1;
    if (text === "" || toolCalls !== undefined || start === 0 || !UNESCAPED.test(text)) return;
    const before = data.slice(0, start);
    const after = data.slice(start + text.length);
    this.learnt += 1;
    // a name or another value may have the same characters: they are the text only if others in their place are read as the text
    const other = `${text}?`;
    if (readStreamEvent(before + other + after).text === other) this.known = { event, before, after };
  }
}

/** The text of an event that differs in nothing else; null where it may, or where its text is escaped. */
function textBetween(data: string, before: string, after: string): string | null {
  const end = data.length - after.length;
  // slices, because startsWith compares character by character
  if (end < before.length || data.slice(0, before.length) !== before || data.slice(end) !== after) return null;
  const text = data.slice(before.length, end);
  return UNESCAPED.test(text) ? text : null;
}
