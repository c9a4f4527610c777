import { z } from "zod";
import { ValidationError } from "../errors.js";
import { ConversationTurn } from "../types/common.js";
import { issuesOf } from "./adapter-record.js";

/** Characters of a request that routing looks at. */
const MAX_ROUTED_CHARACTERS = 8_192;

const Turns = z.array(ConversationTurn);

/** What a request is about: the text, or the last user turn of a conversation. */
export function routedText(textOrMessages: string | readonly ConversationTurn[]): string {
  if (typeof textOrMessages === "string") return textOrMessages.slice(0, MAX_ROUTED_CHARACTERS);
  const checked = Turns.safeParse(textOrMessages);
  if (!checked.success) {
    throw new ValidationError("input_invalid", `route takes a text or the turns of a conversation: ${issuesOf(checked.error)}.`);
  }
  const text = checked.data.findLast(({ role }) => role === "user")?.content ?? "";
  return text.slice(0, MAX_ROUTED_CHARACTERS);
}
