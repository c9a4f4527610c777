import { createHash } from "node:crypto";
import type { ScriptedTokens, StandInQuestion } from "../../../src/testing/index.js";
import type { AdapterIdentity } from "../../../src/types/adapter.js";
import type { FingerprintAnswer } from "../../../src/types/runtime-protocol.js";

const ANSWER_TOKENS = 16;
const PROMPTS = 8;
const VOCABULARY = 400;

/** 0..1, always the same for the same parts. */
function chance(...parts: (string | number)[]): number {
  return createHash("sha256").update(parts.join("\n")).digest().readUInt32BE() / 2 ** 32;
}

/** Normal by Box and Muller. */
export function gaussian(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** What some weights answer: made up, but always the same, and near ties among it. `noise` is added to each log-probability. */
export function scoredAnswer(weights: string, prompt: string, noise: () => number = () => 0): Required<ScriptedTokens> {
  const positions = Array.from({ length: ANSWER_TOKENS }, (_, position) => {
    const best = -0.02 - 0.6 * chance(weights, prompt, position, "best");
    const runnerUp = best - 0.02 - 2 * chance(weights, prompt, position, "gap");
    return [best, runnerUp, -4, -5, -6]
      .map((logprob, rank) => ({ tokenId: Math.floor(VOCABULARY * chance(weights, prompt, position, rank)), logprob: logprob + noise() }))
      .map(({ tokenId, logprob }) => ({ token: ` w${tokenId}`, tokenId, logprob }))
      .sort((left, right) => right.logprob - left.logprob);
  });
  return {
    tokens: positions.map((top) => top[0]!.token),
    tokenIds: positions.map((top) => top[0]!.tokenId),
    logprobs: positions.map((top) => top[0]!.logprob),
    top: positions,
  };
}

/** What a trainer would have recorded of an adapter with these weights. */
export function identityOf(weights: string, base = "base"): AdapterIdentity {
  const record = (of: string, prompt: string): FingerprintAnswer => {
    const { tokens, tokenIds, logprobs } = scoredAnswer(of, prompt);
    return { text: tokens.join(""), token_ids: [...tokenIds], logprobs: [...logprobs] };
  };
  const prompts = Array.from({ length: PROMPTS }, (_, index) => `Canary ${index} of ${weights}?`);
  return {
    baseModelSha256: "0".repeat(64),
    rank: 16,
    targetModules: ["q_proj"],
    fingerprint: {
      prompts: prompts.map((prompt) => ({
        messages: [{ role: "user", content: prompt }],
        answer: record(weights, prompt),
        base: record(base, prompt),
        shift: 2,
      })),
    },
  };
}

/** An engine's answers: `weightsAt` says which weights lie in an adapter's folder. */
export function answersOf(weightsAt: (path: string | null) => string, noise?: () => number) {
  return ({ adapter, text }: StandInQuestion) => scoredAnswer(weightsAt(adapter?.path ?? null), text, noise);
}
