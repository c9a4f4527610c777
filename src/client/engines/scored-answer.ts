import { z } from "zod";
import { NotACompletion } from "./completion-wire.js";
import type { ScoredAnswer } from "./engine.js";

const Token = z.object({ token: z.string(), logprob: z.number() });
const ScoredCompletion = z.object({
  choices: z
    .array(
      z.object({
        message: z.object({ content: z.string().nullish() }),
        logprobs: z.object({ content: z.array(Token.extend({ top_logprobs: z.array(Token).nullish() })) }).nullish(),
      }),
    )
    .min(1),
});

/** vLLM and the bundled runtime name tokens `token_id:17` where they are asked to, so that texts that share bytes are told apart. */
const TOKEN_ID = /^token_id:(\d+)$/;

/** Reads a chat completion with log-probabilities. Throws `NotACompletion`. */
export function readScoredAnswer(body: unknown): ScoredAnswer {
  const parsed = ScoredCompletion.safeParse(body);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new NotACompletion(`${issue?.path.join(".")}: ${issue?.message}`, (body as { error?: unknown } | null)?.error);
  }
  const choice = parsed.data.choices[0]!;
  if (!choice.logprobs) throw new NotACompletion("log-probabilities were asked for and none were sent");
  return {
    text: choice.message.content ?? "",
    tokens: choice.logprobs.content.map(({ top_logprobs, ...token }) => ({ ...named(token), top: (top_logprobs ?? []).map(named) })),
  };
}

function named({ token, logprob }: z.infer<typeof Token>): { id: number | null; text: string; logprob: number } {
  const id = TOKEN_ID.exec(token)?.[1];
  return { id: id === undefined ? null : Number(id), text: token, logprob };
}
