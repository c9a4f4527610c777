import type { z } from "zod";
import { ValidationError } from "../errors.js";
import { hashOf } from "../support/hash-of.js";
import { DEFAULT_DOMAIN, FeedbackInput, Sample, SearchResult } from "../types/index.js";

/** A sample as an application has it: question and answer, and what it knows besides. */
export const SampleInput = Sample.partial().required({ prompt: true, response: true });
export type SampleInput = z.infer<typeof SampleInput>;

/** What training data is made of. */
export type TrainingSource = SampleInput | SearchResult;

/** A sample on its way into a dataset. */
export interface Candidate {
  sample: Sample;
  kind: "question-answer" | "document";
  /** False where `qualityScore` is still to be found. */
  hasScore: boolean;
}

/** Why something cannot become a sample. */
export interface Unusable {
  sampleId: string;
  reason: string;
}

const WITHOUT_QUESTION = "no_question: the search result has no title, and no second sentence to continue with";

/**
 * Turns an application's samples and search results into samples. A search result is a text without a question: its title becomes the prompt and its text the
 * answer; without a title its first sentence becomes the prompt and the rest the answer (the model learns to continue); with only one sentence it is unusable.
 */
export function toCandidate(source: TrainingSource, index: number, defaultDomain: string = DEFAULT_DOMAIN): Candidate | Unusable {
  if (isSearchResult(source)) return fromSearchResult(source, index, defaultDomain);
  const parsed = SampleInput.safeParse(source);
  if (!parsed.success) throw invalidAt(index, parsed.error);
  const input = parsed.data;
  const domain = input.domain ?? defaultDomain;
  const objective = input.objective ?? "imitate";
  const sample: Sample = {
    ...input,
    id: input.id ?? `sample_${hashOf(domain, objective, JSON.stringify(input)).slice(0, 32)}`,
    objective,
    rating: input.rating ?? (objective === "imitate" ? 1 : 0),
    importance: input.importance ?? 3,
    domain,
    source: input.source ?? "import",
    qualityScore: input.qualityScore ?? 0,
  };
  return { sample, kind: "question-answer", hasScore: input.qualityScore !== undefined };
}

/**
 * Turns feedback into samples: a correction is an answer to imitate, a thumb up makes the given answer one, a thumb down never does (it is a preference), and a neutral rating
 * without a correction says nothing.
 */
export function fromFeedback(feedback: unknown, index: number, defaultDomain: string = DEFAULT_DOMAIN): Candidate | Unusable {
  const parsed = FeedbackInput.safeParse(feedback);
  if (!parsed.success) throw invalidAt(index, parsed.error);
  const given = parsed.data;
  const reference = given.idempotencyKey ?? given.generationId ?? `feedback[${index}]`;
  if (given.prompt === undefined || given.response === undefined) {
    return {
      sampleId: reference,
      reason: "no_text: the feedback names a generation but has no prompt and response; add it through the pipeline",
    };
  }
  const correction = given.correction?.trim() ? given.correction : undefined;
  if (correction === undefined && given.rating === 0)
    return { sampleId: reference, reason: "no_signal: neither a correction nor a rating" };
  const objective = correction !== undefined || given.rating > 0 ? "imitate" : "preference";
  const { prompt, rating, importance, subjectId } = given;
  const domain = given.domain ?? defaultDomain;
  return toCandidate(
    {
      prompt,
      response: correction ?? given.response,
      objective,
      rating,
      importance,
      subjectId,
      domain,
      source: given.source ?? "feedback",
    },
    index,
  );
}

/** True for what could not become a sample. */
export function isUnusable(value: Candidate | Unusable): value is Unusable {
  return !("sample" in value);
}

function isSearchResult(source: TrainingSource): source is SearchResult {
  return typeof source === "object" && source !== null && "content" in source && "scores" in source;
}

function fromSearchResult(source: SearchResult, index: number, defaultDomain: string): Candidate | Unusable {
  const parsed = SearchResult.safeParse(source);
  if (!parsed.success) throw invalidAt(index, parsed.error);
  const { id, content, metadata } = parsed.data;
  const title = typeof metadata.title === "string" ? metadata.title.trim() : "";
  const split = title === "" ? splitFirstSentence(content) : { prompt: title, response: content.trim() };
  if (split === null) return { sampleId: id, reason: WITHOUT_QUESTION };
  const sample: Sample = {
    id,
    ...split,
    objective: "imitate",
    rating: 0,
    importance: 3,
    domain: typeof metadata.domain === "string" ? metadata.domain : defaultDomain,
    source: "retrieved",
    qualityScore: 0,
  };
  return { sample, kind: "document", hasScore: false };
}

function splitFirstSentence(text: string): { prompt: string; response: string } | null {
  const trimmed = text.trim();
  const end = /[.!?:](?=\s+\S)|\n+(?=\S)/u.exec(trimmed);
  if (!end) return null;
  const prompt = trimmed.slice(0, end.index + 1).trim();
  const response = trimmed.slice(end.index + 1).trim();
  return prompt === "" || response === "" ? null : { prompt, response };
}

function invalidAt(index: number, error: z.ZodError): ValidationError {
  const issue = error.issues[0];
  const field = issue?.path.join(".") ?? "";
  return new ValidationError(
    "input_invalid",
    `Sample ${index} is invalid${field ? ` at ${field}` : ""}: ${issue?.message ?? "wrong shape"}.`,
    {
      details: { index, field },
    },
  );
}
