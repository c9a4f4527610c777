/** One engine of the activation bench, in a process of its own: streams tokens that name their version, and answers canaries in good time. */
import { setTimeout as delay } from "node:timers/promises";
import { sendMessage } from "execa";
import { type ScriptedTokens, startStandInEngine } from "../../src/testing/index.js";
import { answersOf } from "../../test/client/support/scored-weights.ts";
import { LOAD_MS, QUESTION, TOKEN_MS, TOKENS, weightsIn } from "./traffic.ts";

const FORGET_MS = 1_000;

// made up once: what the stand-in computes is not what a GPU does beside its tokens
const answers = new Map<string, ScriptedTokens>();
const scored = answersOf(weightsIn);
const engine = await startStandInEngine({
  loadTimeMs: LOAD_MS,
  tokenIntervalMs: TOKEN_MS,
  answer: async (question) => {
    if (question.text === QUESTION) return Array<string>(TOKENS).fill(` ${weightsIn(question.adapter?.path ?? null)}`);
    const key = `${question.adapter?.path} ${question.text}`;
    const answer = answers.get(key) ?? scored(question);
    answers.set(key, answer);
    // the stand-in sends whole answers at once, and an engine needs its time for them as well
    await delay(answer.tokens.length * TOKEN_MS);
    return answer;
  },
});
// ten thousand flips ask a million questions, and nobody looks at them here
setInterval(() => engine.requests.splice(0), FORGET_MS);
await sendMessage(engine.url);
