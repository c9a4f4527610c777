import { hashOf } from "../support/hash-of.js";
import type { CallOptions } from "../types/common.js";
import { GENERAL_PROMPTS } from "./general-prompts.js";
import type { GeneralSetOptions } from "./pipeline-options.js";
import type { StageParts } from "./stages/stage.js";
import { storableText } from "./storable-text.js";

/** A question with the answer that must stay. */
export interface AnchorPair {
  prompt: string;
  response: string;
}

/** What is replayed against forgetting, and what is only tested on; disjoint. */
export interface GeneralSet {
  replay: AnchorPair[];
  holdout: AnchorPair[];
}

const MAX_ANSWER_TOKENS = 64;

/**
 * The general set of a pipeline: the host's own pairs, or prompts that the base model answered once, before anything was learnt. Those
 * answers are kept, so that every later candidate is held to the same anchor.
 */
export async function generalSet(parts: Pick<StageParts, "store" | "serving" | "options">, callOptions: CallOptions): Promise<GeneralSet> {
  const { general } = parts.options;
  if (general === false) return { replay: [], holdout: [] };
  if (general.replay !== undefined || general.holdout !== undefined) {
    return { replay: [...(general.replay ?? [])], holdout: [...(general.holdout ?? [])] };
  }
  await writePrompts(parts, general.prompts ?? GENERAL_PROMPTS);
  await answerPrompts(parts, callOptions);
  const rows = await parts.store.db
    .selectFrom("general_items")
    .selectAll()
    .where("pipeline", "=", parts.options.name)
    .orderBy("position")
    .execute();
  const half = (name: string) =>
    rows.filter((row) => row.half === name && row.response !== "").map((row) => ({ prompt: row.prompt, response: row.response as string }));
  return { replay: half("replay"), holdout: half("holdout") };
}

/** The questions of the general set that versions are tested on and must not learn. */
export function heldOutQuestions(general: GeneralSetOptions | false): string[] {
  if (general === false) return [];
  if (general.replay !== undefined || general.holdout !== undefined) return (general.holdout ?? []).map(({ prompt }) => prompt);
  return inOrder(general.prompts ?? GENERAL_PROMPTS).filter((_, position) => halfOf(position) === "holdout");
}

function inOrder(prompts: readonly string[]): string[] {
  const distinct = [...new Set(prompts.map((prompt) => storableText(prompt).trim()).filter((prompt) => prompt !== ""))];
  return distinct.sort((left, right) => (hashOf(left) < hashOf(right) ? -1 : 1));
}

function halfOf(position: number): "replay" | "holdout" {
  return position % 2 === 0 ? "replay" : "holdout";
}

/** Which half a prompt falls into depends on its text alone, in alternation after sorting by hash. */
async function writePrompts(parts: Pick<StageParts, "store" | "options">, prompts: readonly string[]): Promise<void> {
  const known = await parts.store.db
    .selectFrom("general_items")
    .select("position")
    .where("pipeline", "=", parts.options.name)
    .limit(1)
    .execute();
  if (known.length > 0) return;
  const ordered = inOrder(prompts);
  if (ordered.length === 0) return;
  await parts.store.db
    .insertInto("general_items")
    .values(
      ordered.map((prompt, position) => ({
        pipeline: parts.options.name,
        position,
        half: halfOf(position),
        prompt,
        response: null,
      })),
    )
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** Asks the base model what has no answer yet; a base that cannot be reached ends this with its retryable error, and what is answered stays. */
async function answerPrompts(parts: Pick<StageParts, "store" | "serving" | "options">, { signal }: CallOptions): Promise<void> {
  const open = await parts.store.db
    .selectFrom("general_items")
    .select(["position", "prompt"])
    .where("pipeline", "=", parts.options.name)
    .where("response", "is", null)
    .orderBy("position")
    .execute();
  const answer = async ({ position, prompt }: { position: number; prompt: string }) => {
    const { text } = await parts.serving.generate(
      { prompt, adapterId: null, route: false, temperature: 0, maxTokens: MAX_ANSWER_TOKENS, metadata: { purpose: "general-anchor" } },
      { signal },
    );
    await parts.store.db
      .updateTable("general_items")
      .set({ response: storableText(text).trim() })
      .where("pipeline", "=", parts.options.name)
      .where("position", "=", position)
      .where("response", "is", null)
      .execute();
  };
  for (let start = 0; start < open.length; start += 4) await Promise.all(open.slice(start, start + 4).map(answer));
}
