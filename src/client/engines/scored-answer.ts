import { z } from "zod";
import { NotACompletion, parseAnswer } from "./completion-wire.js";
import type { ScoredAnswer } from "./engine.js";

const Token = z.object({ token: z.string(), logprob: z.number() });
/** The tokens of an answer with the likeliest ones in the place of each, as OpenAI and Ollama write them. */
export const ScoredTokens = z.array(Token.extend({ top_logprobs: z.array(Token).nullish() }));
const ScoredCompletion = z.object({
  choices: z
    .array(
      z.object({
        message: z.object({ content: z.string().nullish() }),
        logprobs: z.object({ content: ScoredTokens }).nullish(),
      }),
    )
    .min(1),
});

/** vLLM and the bundled runtime name tokens `token_id:17` where they are asked to, so that texts that share bytes are told apart. */
const TOKEN_ID = /^token_id:(\d+)$/;

/** Reads a chat completion with log-probabilities. Throws `NotACompletion`. */
export function readScoredAnswer(body: unknown): ScoredAnswer {
  const { message, logprobs } = parseAnswer(ScoredCompletion, body).choices[0]!;
  return scoredAnswer(message.content, logprobs?.content);
}

/** A text with its scored tokens; an engine that sent none cannot score. Throws `NotACompletion`. */
export function scoredAnswer(text: string | null | undefined, tokens: z.infer<typeof ScoredTokens> | null | undefined): ScoredAnswer {
  if (!tokens) throw new NotACompletion("log-probabilities were asked for and none were sent");
  return {
    text: text ?? "",
    tokens: tokens.map(({ top_logprobs, ...token }) => ({ ...named(token), top: (top_logprobs ?? []).map(named) })),
  };
}

function named({ token, logprob }: z.infer<typeof Token>): { id: number | null; text: string; logprob: number } {
  const id = TOKEN_ID.exec(token)?.[1];
  return { id: id === undefined ? null : Number(id), text: token, logprob };
}
