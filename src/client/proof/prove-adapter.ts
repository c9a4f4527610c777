import type { AdapterIdentity } from "../../types/adapter.js";
import type { AdapterProof } from "../../types/proof.js";
import type { ScoredAnswer } from "../engines/engine.js";
import { answerDifference } from "./answer-difference.js";

/** How strict proofs are. */
export interface ProofOptions {
  /**
   * `recorded` (default): an adapter whose trainer left a fingerprint must match it, others are taken as they are. `required`: an adapter
   * without one takes no traffic. `off`: nothing is asked of the engine.
   */
  mode: "recorded" | "required" | "off";
  /** Least difference that is tolerated, mean nats a token of one answer. Default .02. */
  minTolerance: number;
  /** Tolerance in multiples of the engine's own distance from what the trainer recorded of the base. Default 4. */
  noiseFactor: number;
  /** Distance of the base's answers from which the engine is taken to serve another base model, mean nats a token. Default 1. */
  maxBaseNoise: number;
}

export const PROOF_DEFAULTS: Readonly<ProofOptions> = Object.freeze({
  mode: "recorded",
  minTolerance: 0.02,
  noiseFactor: 4,
  maxBaseNoise: 1,
});

/** Asks the engine one canary prompt, greedily; `model` is an adapter's id, or null for the base. */
export type AskCanary = (model: string | null, prompt: number) => Promise<ScoredAnswer>;

/** Times that the base and the adapter answer each prompt: what differs between repeats is noise. */
const REPEATS = 2;

/**
 * Asks base, adapter and predecessor for their greedy answers to the canary prompts, all at once as traffic would, and compares them with
 * what the trainer recorded. The largest distance of the base's answers is the noise of this engine (its precision, its kernels, the
 * batch); the adapter's answers must be as near to theirs within a multiple of it, and must be farther from the base.
 */
export async function proveAdapter(
  adapter: { id: string; identity: AdapterIdentity; predecessorId?: string | null },
  ask: AskCanary,
  options: ProofOptions,
): Promise<Omit<AdapterProof, "endpoint" | "provenAt" | "latencyMs">> {
  const { prompts } = adapter.identity.fingerprint;
  const worst = async (model: string | null, repeats: number, recordOf: "answer" | "base"): Promise<number> => {
    const answers = Array.from({ length: repeats }, () => prompts.map((prompt, index) => compare(prompt[recordOf], model, index)));
    return Math.max(0, ...(await Promise.all(answers.flat())));
  };
  const compare = async (recorded: (typeof prompts)[number]["answer"], model: string | null, index: number) =>
    answerDifference(recorded, await ask(model, index));
  const predecessor = adapter.predecessorId ?? null;
  const [noise, difference, fromPredecessor] = await Promise.all([
    worst(null, REPEATS, "base"),
    worst(adapter.id, REPEATS, "answer"),
    predecessor === null ? null : worst(predecessor, 1, "answer"),
  ]);
  const tolerance = Math.max(options.minTolerance, options.noiseFactor * noise);
  const shift = Math.max(0, ...prompts.map((prompt) => prompt.shift));
  const problems: string[] = [];
  if (noise > options.maxBaseNoise) {
    problems.push(`the base model answers ${nats(noise)} from what the trainer recorded: the engine serves another base model`);
  } else if (difference > tolerance) {
    problems.push(
      `it answers ${nats(difference)} from what the trainer recorded (tolerated: ${nats(tolerance)}): the engine does not serve it`,
    );
  } else if (shift <= 2 * tolerance) {
    problems.push(`it changes the base's answers by ${nats(shift)} only, which the engine's noise (${nats(noise)}) hides: it does nothing`);
  }
  return {
    adapterId: adapter.id,
    status: problems.length === 0 ? "proven" : "failed",
    difference,
    tolerance,
    noise,
    fromBase: shift,
    predecessorId: predecessor,
    fromPredecessor,
    prompts: prompts.length,
    problems,
  };
}

function nats(value: number): string {
  return `${value.toPrecision(2)} nats a token`;
}
