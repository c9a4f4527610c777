import { randomUUID } from "node:crypto";
import { NotFoundError, ValidationError } from "../errors.js";
import { plainDomain } from "../support/tenancy.js";
import { type CallOptions, DEFAULT_DOMAIN, type Logger, Slug } from "../types/common.js";
import type { FeedbackInput, FeedbackReceipt, FirewallFinding, QualityReport } from "../types/feedback.js";
import { ratingOutcomeOf } from "./canary/canary-outcomes.js";
import type { PipelineEmitter } from "./events.js";
import { type ParsedFeedback, parseFeedback } from "./feedback-input.js";
import { type FeedbackRow, sampleRowOf } from "./feedback-rows.js";
import type { Firewall } from "./firewall/firewall.js";
import { textHash } from "./generation-log.js";
import type { IntakeOutcome, IntakeWriter } from "./intake-writer.js";
import type { DatasetsPort, FoundGeneration, GenerationsPort, RouterPort } from "./ports.js";
import { storableJson, storableText } from "./storable-text.js";
import { foreignTenant, keyWithin, learningDomain, sketchWithin, type TenantMode, tenantOfFeedback } from "./tenants.js";
import { contentHash, judge, lessonOf } from "./verdict.js";

/** What the intake is made of. */
export interface FeedbackIntakeParts {
  pipeline: string;
  writer: IntakeWriter;
  quality: DatasetsPort["quality"];
  firewall: Firewall;
  generations: GenerationsPort | undefined;
  router: Pick<RouterPort, "recordOutcome">;
  events: PipelineEmitter;
  reviewFrom: number;
  tenants: TenantMode;
  /** A rating of a canary's arm was written. */
  onCanaryRating: () => void;
  clock: () => number;
  logger: Logger | undefined;
}

/** Something received that could not even be read as feedback. */
export interface UnreadableFeedback {
  /** Stable code, for example `invalid_utf8`. */
  code: string;
  reason: string;
  /** Where it was, for example `line 12`. */
  source: string;
  metadata: Record<string, unknown>;
}

const NO_QUALITY: QualityReport = { score: 0, passed: false, checks: [] };

/** From what the host reports to a durable verdict. */
export class FeedbackIntake {
  readonly #parts: FeedbackIntakeParts;

  constructor(parts: FeedbackIntakeParts) {
    this.#parts = parts;
  }

  /** Checks, judges and stores one feedback. */
  async add(input: FeedbackInput, options: CallOptions & { isImport?: boolean; replaces?: string } = {}): Promise<FeedbackReceipt> {
    const parsed = parseFeedback(input);
    const { firewall } = this.#parts;
    const generation = await this.#resolveGeneration(parsed, options);
    const tenant = tenantOfFeedback(parsed, generation);
    const origin = foreignTenant(parsed, generation) ?? firewall.checkOrigin(parsed, generation);
    const { texts, finding } = firewall.screenPersonalData({ ...parsed, ...textsOf(parsed, generation) });
    const { prompt, response, correction, comment } = texts;
    const lesson = { prompt, ...lessonOf({ response, correction, rating: parsed.rating }) };
    const domain = learningDomain(parsed.domain ?? slugOrNull(generation?.domain) ?? DEFAULT_DOMAIN, tenant, this.#parts.tenants);
    const quality = await this.#parts.quality.check({ prompt, response: lesson.answer }, { domain: plainDomain(domain), ...options });
    const found = [origin, finding, ...firewall.screen(texts, { ...lesson, rating: parsed.rating })];
    const findings = found.filter((one) => one !== null);
    const verdict = judge(quality, findings, this.#parts.reviewFrom);
    const mayCount = verdict.status !== "rejected" && lesson.objective === "imitate";
    const ownSketch = mayCount ? this.#parts.quality.sketch?.({ prompt, response: lesson.answer }) : undefined;
    const sketch = ownSketch && sketchWithin(domain, ownSketch);
    const feedback: FeedbackRow = {
      id: randomUUID(),
      pipeline: this.#parts.pipeline,
      status: verdict.status,
      reason: verdict.reason === null ? null : storableText(verdict.reason),
      code: verdict.code,
      findings: storableJson(findings),
      sketch_key: sketch?.key ?? null,
      sketch: sketch === undefined ? null : storableJson(sketch),
      domain,
      prompt: storableText(prompt),
      response: storableText(response),
      correction: storableOrNull(correction),
      comment: storableOrNull(comment),
      rating: parsed.rating,
      importance: parsed.importance,
      subject_id: storableOrNull(parsed.subjectId ?? generation?.subjectId),
      source: storableText(parsed.source ?? "api"),
      idempotency_key: parsed.idempotencyKey === undefined ? null : keyWithin(domain, storableText(parsed.idempotencyKey)),
      generation_id: storableOrNull(parsed.generationId),
      content_hash: verdict.status === "rejected" ? null : contentHash(lesson.objective, prompt, lesson.answer, domain),
      duplicate_of: null,
      replaces: verdict.status === "rejected" ? null : (options.replaces ?? null),
      quality: storableJson(quality),
      metadata: storableJson({ ...parsed.metadata, ...(tenant === null ? {} : { tenant }) }),
      created_at: new Date(this.#parts.clock()).toISOString(),
      decided_at: null,
      erased_at: null,
    };
    const storable = {
      objective: lesson.objective,
      prompt: storableText(prompt),
      answer: storableText(lesson.answer),
      rejectedAnswer: storableOrNull(lesson.rejectedAnswer),
    };
    const sample = verdict.status === "accepted" ? sampleRowOf(feedback, storable, quality.score) : null;
    const trial =
      generation?.canary == null
        ? undefined
        : ratingOutcomeOf(generation.canary, { ...parsed, subjectId: feedback.subject_id, generationId: generation.id });
    const outcome = await this.#parts.writer.write({ feedback, sample, outcome: trial, isImport: options.isImport }, options);
    const receipt = receiptOf(outcome, quality, findings);
    if (trial !== undefined) this.#parts.onCanaryRating();
    if (outcome.status === "accepted") this.#reward(generation, parsed.rating);
    this.#parts.events.emit(outcome.status === "accepted" ? "feedback.accepted" : "feedback.rejected", { receipt, domain });
    return receipt;
  }

  /** Records something that could not be read, so that the ledger knows that it was received. */
  async addUnreadable(unreadable: UnreadableFeedback, options: CallOptions = {}): Promise<FeedbackReceipt> {
    const feedback: FeedbackRow = {
      id: randomUUID(),
      pipeline: this.#parts.pipeline,
      status: "rejected",
      reason: storableText(unreadable.reason),
      domain: DEFAULT_DOMAIN,
      prompt: null,
      response: null,
      correction: null,
      comment: null,
      rating: 0,
      importance: 3,
      subject_id: null,
      code: "unreadable",
      findings: "[]",
      source: storableText(unreadable.source),
      idempotency_key: null,
      generation_id: null,
      content_hash: null,
      duplicate_of: null,
      replaces: null,
      quality: storableJson(NO_QUALITY),
      metadata: storableJson({ code: unreadable.code, ...unreadable.metadata }),
      created_at: new Date(this.#parts.clock()).toISOString(),
      decided_at: null,
      erased_at: null,
    };
    const outcome = await this.#parts.writer.write({ feedback, sample: null }, options);
    const receipt = receiptOf(outcome, NO_QUALITY, []);
    this.#parts.events.emit("feedback.rejected", { receipt, domain: DEFAULT_DOMAIN });
    return receipt;
  }

  async #resolveGeneration(parsed: ParsedFeedback, options: CallOptions): Promise<FoundGeneration | null> {
    if (parsed.generationId === undefined) return null;
    const generation = (await this.#parts.generations?.find(parsed.generationId, options)) ?? null;
    if (generation !== null) return generation;
    throw new NotFoundError(
      "generation_not_found",
      `There is no generation "${parsed.generationId}". Give the id of a GenerationResult of this database, or give prompt and response instead.`,
      { details: { id: parsed.generationId } },
    );
  }

  /** The router learns from the rating of an answer that it routed; feedback never waits for that. */
  #reward(generation: FoundGeneration | null, rating: number): void {
    const decisionId = generation?.decisionId;
    if (!decisionId || this.#parts.router.recordOutcome === undefined) return;
    this.#parts.router
      .recordOutcome(decisionId, rating)
      .catch((error: unknown) => this.#parts.logger?.debug({ err: error, decisionId }, "the router did not take an outcome"));
  }
}

function textsOf(parsed: ParsedFeedback, generation: FoundGeneration | null): { prompt: string; response: string } {
  // the record counts: what the host claims was asked and answered may be forged
  const prompt = generation?.prompt ?? parsed.prompt;
  const response = generation?.response ?? parsed.response;
  if (prompt === undefined || prompt === null || response === undefined || response === null) {
    const message = `The texts of generation "${parsed.generationId}" are not stored; give prompt and response with the feedback.`;
    throw new ValidationError("feedback_invalid", message, { details: { generationId: parsed.generationId } });
  }
  if (generation?.textHash != null && textHash(prompt, response) !== generation.textHash) {
    const message = `Prompt and response are not those of generation "${parsed.generationId}".`;
    throw new ValidationError("feedback_invalid", message, { details: { generationId: parsed.generationId } });
  }
  return { prompt, response };
}

function receiptOf(
  { id, status, code, reason, finding }: IntakeOutcome,
  quality: QualityReport,
  findings: readonly FirewallFinding[],
): FeedbackReceipt {
  const all = finding === undefined ? findings : [...findings, finding];
  return {
    id,
    status,
    quality,
    ...(code === null ? {} : { code }),
    ...(reason === null ? {} : { reason }),
    ...(all.length === 0 ? {} : { findings: [...all] }),
  };
}

function slugOrNull(domain: string | null | undefined): string | null {
  return Slug.safeParse(domain).data ?? null;
}

function storableOrNull(text: string | null | undefined): string | null {
  return text === undefined || text === null ? null : storableText(text);
}
