import type { ToolCall } from "../../types/common.js";
import type { ToolCallDelta } from "../../types/generation.js";

/** A piece of a tool call as an engine sends it; some leave the index out. */
export type ToolCallPiece = Omit<ToolCallDelta, "index"> & { index?: number };

/** The pieces of a stream's tool calls, each put to the call that it belongs to. */
export class ToolCallPieces {
  readonly #calls = new Map<number, ToolCall>();
  #last = -1;

  /** The piece with the index of its call. */
  add({ index, id, name, arguments: part }: ToolCallPiece): ToolCallDelta {
    const place = this.#placeOf(index, id, name);
    const call = this.#calls.get(place) ?? { id: "", name: "", arguments: "" };
    this.#calls.set(place, { id: call.id || (id ?? ""), name: call.name || (name ?? ""), arguments: call.arguments + (part ?? "") });
    this.#last = place;
    return {
      index: place,
      ...(id === undefined ? {} : { id }),
      ...(name === undefined ? {} : { name }),
      ...(part === undefined ? {} : { arguments: part }),
    };
  }

  /** The calls so far, in the order of their index. */
  get joined(): ToolCall[] {
    return [...this.#calls].sort(([left], [right]) => left - right).map(([, call]) => call);
  }

  /**
   * A name begins a call. Servers that give every call the index 0, or none, tell calls apart by the name alone; an id does not, since
   * some make a new one for each piece.
   */
  #placeOf(index: number | undefined, id: string | undefined, name: string | undefined): number {
    const place = index ?? Math.max(0, this.#last);
    const known = this.#calls.get(place);
    if (known === undefined || !name || !known.name) return place;
    if (id && id === known.id) return place;
    return index === undefined || id ? Math.max(...this.#calls.keys()) + 1 : place;
  }
}
