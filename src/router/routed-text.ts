import { z } from "zod";
import { ValidationError } from "../errors.js";
import { ConversationTurn } from "../types/common.js";
import { issuesOf } from "./adapter-record.js";

/** Characters of a request that routing looks at. */
const MAX_ROUTED_CHARACTERS = 8_192;

const RouteInput = z.union([z.string(), z.array(ConversationTurn)]);

/** What a request is about: the text, or the last user turn of a conversation. */
export function routedText(textOrMessages: string | readonly ConversationTurn[]): string {
  const checked = RouteInput.safeParse(textOrMessages);
  if (!checked.success) {
    throw new ValidationError("input_invalid", `route takes a text or the turns of a conversation: ${issuesOf(checked.error)}.`);
  }
  const text = typeof checked.data === "string" ? checked.data : (checked.data.findLast(({ role }) => role === "user")?.content ?? "");
  return text.slice(0, MAX_ROUTED_CHARACTERS);
}
