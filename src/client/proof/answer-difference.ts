import type { FingerprintAnswer } from "../../types/runtime-protocol.js";
import type { ScoredAnswer, ScoredToken } from "../engines/engine.js";

/** How much less likely a token is taken to be than the least likely one that the engine names in its place, nats. */
const UNNAMED_NATS = 5;

/** A single token strays about three times as far as the mean of many by chance alone. */
const SINGLE_TOKEN_SHARE = 1 / 3;

/**
 * Distance of an engine's greedy answer from a recorded one, nats: the mean over the tokens up to the one where the two part, or a third
 * of that one's own distance, where it is larger. In its place the engine's log-probability of the recorded token counts: a near tie
 * that rounding decided the other way is near, another model's answer is not.
 */
export function answerDifference(recorded: FingerprintAnswer, answered: ScoredAnswer): number {
  const differences: number[] = [];
  let text = "";
  for (const [index, id] of recorded.token_ids.entries()) {
    const token = answered.tokens[index];
    // the end-of-text mark, which is recorded, may go without saying
    if (token === undefined) return answered.text === recorded.text ? mean(differences) : UNNAMED_NATS;
    const isRecorded = ({ id: other, text: more }: Pick<ScoredToken, "id" | "text">) =>
      other === null ? recorded.text.startsWith(text + more) : other === id;
    const logprob = isRecorded(token) ? token.logprob : (token.top.find(isRecorded)?.logprob ?? leastLogprob(token));
    differences.push(Math.abs(logprob - recorded.logprobs[index]!));
    if (!isRecorded(token)) return Math.max(mean(differences), SINGLE_TOKEN_SHARE * differences.at(-1)!);
    text += token.text;
  }
  return mean(differences);
}

function leastLogprob({ logprob, top }: ScoredToken): number {
  return Math.min(logprob, ...top.map((other) => other.logprob)) - UNNAMED_NATS;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}
