import { z } from "zod";

/** A user's correction that an answer was given, and where it came from. */
export const RecalledCorrection = z.object({
  /** The feedback that brought it. */
  feedbackId: z.string(),
  domain: z.string(),
  /** The question that was corrected. */
  prompt: z.string(),
  /** The right answer. */
  answer: z.string(),
  /** How much of what the two questions are about they have in common, 0..1. */
  similarity: z.number(),
});
export type RecalledCorrection = z.infer<typeof RecalledCorrection>;
