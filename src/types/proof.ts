import { z } from "zod";

/** What one endpoint showed of an adapter; differences are mean nats a token, the worst of all canary prompts. */
export const AdapterProof = z.object({
  adapterId: z.string(),
  endpoint: z.string(),
  /** `unrecorded`: its trainer left no fingerprint, so that only its name is known. */
  status: z.enum(["proven", "failed", "unrecorded"]),
  /** Its answers from what the trainer recorded. */
  difference: z.number().nullable(),
  /** The largest difference that passes; learnt from `noise`. */
  tolerance: z.number().nullable(),
  /** The base's answers from what the trainer recorded: what this engine's arithmetic makes of the same weights. */
  noise: z.number().nullable(),
  /** The trainer's own measure of how far the adapter is from the base. */
  fromBase: z.number().nullable(),
  /** What served before it, and how far its answers are; where that is within the tolerance the two cannot be told apart. */
  predecessorId: z.string().nullable(),
  fromPredecessor: z.number().nullable(),
  /** Canary prompts asked. */
  prompts: z.number().int(),
  problems: z.array(z.string()),
  latencyMs: z.number(),
  provenAt: z.iso.datetime(),
});
export type AdapterProof = z.infer<typeof AdapterProof>;
