import { AbortedError, ValidationError } from "../../errors.js";
import type { CallOptions, Dataset, DatasetItem } from "../../types/index.js";
import { FeedbackInput } from "../../types/index.js";
import { groupKeyOf } from "../answer-group.js";
import { ContentHash, findUnstorable } from "../content-hash.js";
import { KEPT_SAMPLE_IDS } from "../dataset-input.js";
import { type PrepareOptions, prepareCandidates, toCandidates } from "../preparation.js";
import type { QualityChecker } from "../quality-checker.js";
import type { DatasetRegistry, NewDataset } from "../registry.js";
import { type Candidate, fromFeedback, isUnusable } from "../sample-input.js";
import { StatisticsCollector } from "../statistics.js";
import { estimateTokens, type Tokenizer } from "../tokenizer.js";
import { ByteSource, type ImportSource } from "./byte-source.js";
import { type ImportDatasetOptions, type ImportDatasetProgress, type ImportDatasetResult, parseImportOptions } from "./import-options.js";
import { readSource } from "./read-source.js";
import type { Reading } from "./reading.js";
import type { Place, Problem } from "./record.js";
import { Spool } from "./spool.js";

/** Preparation compares every sample with every other, so it holds them all. */
const MAX_PREPARED = 200_000;
const MAX_ERRORS = 50;
const PROGRESS_EVERY = 1000;

/** What an import works with. */
export interface ImportParts {
  registry: DatasetRegistry;
  quality: QualityChecker;
  tokenizer?: Tokenizer;
  /** Question and answer of a generation, for feedback that names only its id. */
  generation(id: string, options: CallOptions): Promise<{ prompt: string; response: string; domain?: string } | null>;
}

/** Name, description and domain as they were checked, and the preparation with the manager's defaults. */
export interface ImportTarget extends Pick<NewDataset, "name" | "description" | "domain"> {
  preparation: PrepareOptions;
}

/** Reads a source into a new dataset; whatever cannot be used is counted and named, and ends nothing. */
export async function importDataset(
  source: ImportSource,
  options: ImportDatasetOptions,
  target: ImportTarget,
  parts: ImportParts,
): Promise<ImportDatasetResult> {
  const settings = parseImportOptions(options);
  const { signal } = options;
  const bytes = new ByteSource(source, signal);
  const progress: ImportDatasetProgress = { rows: 0, accepted: 0, rejected: 0, bytes: 0 };
  const errors: ImportDatasetResult["errors"] = [];
  const rows = await CollectedRows.open(options, target, parts);
  const report = (): void => options.onProgress?.({ ...progress, bytes: bytes.bytes });
  try {
    for await (const { readings, ...place } of readSource(bytes, settings)) {
      if (signal?.aborted) throw new AbortedError();
      progress.rows += 1;
      for (const reading of readings) {
        const problem = await rows.take(reading);
        if (problem === null) progress.accepted += 1;
        else {
          progress.rejected += 1;
          if (errors.length < MAX_ERRORS) errors.push({ ...(place as Place), ...problem });
        }
      }
      if (progress.rows % PROGRESS_EVERY === 0) report();
    }
    if (progress.accepted === 0) throw emptyImport(target.name, progress, errors);
    const { rows: read, rejected } = progress;
    const dataset = await rows.write({ format: settings.format, sha256: bytes.sha256(), rows: read, rejected });
    report();
    return { dataset, ...progress, bytes: bytes.bytes, errors };
  } finally {
    await rows.close();
  }
}

function emptyImport(name: string, { rows }: ImportDatasetProgress, errors: ImportDatasetResult["errors"]): ValidationError {
  const codes = [...new Set(errors.map(({ code }) => code))];
  const why = rows === 0 ? "the source has no records" : `none of its ${rows} records could be used (${codes.join(", ")})`;
  return new ValidationError("dataset_empty", `The dataset ${JSON.stringify(name)} would be empty: ${why}.`, {
    details: { name, received: rows, reasons: codes, errors: errors.slice(0, 20) },
  });
}

function unstorable(field: string): Problem {
  return { code: "text_invalid", message: `${field} has U+0000 or half a surrogate pair` };
}

/** Rows on their way into a dataset: those that stand as they are go to disk, those to be prepared stay in memory. */
class CollectedRows {
  readonly #options: ImportDatasetOptions;
  readonly #target: ImportTarget;
  readonly #parts: ImportParts;
  readonly #spool: Spool;
  readonly #hash = new ContentHash();
  readonly #statistics = new StatisticsCollector();
  readonly #sampleIds: string[] = [];
  readonly #candidates: Candidate[] = [];
  #qualitySum = 0;
  #spooled = 0;
  #mode: "prepared" | "samples" | undefined;

  private constructor(options: ImportDatasetOptions, target: ImportTarget, parts: ImportParts, spool: Spool) {
    this.#options = options;
    this.#target = target;
    this.#parts = parts;
    this.#spool = spool;
  }

  static async open(options: ImportDatasetOptions, target: ImportTarget, parts: ImportParts): Promise<CollectedRows> {
    return new CollectedRows(options, target, parts, await Spool.open());
  }

  /** Null where the reading became a row; the first one that does decides whether the file's rows are prepared already. */
  async take(reading: Reading): Promise<Problem | null> {
    if ("problem" in reading) return reading.problem;
    const { prepare } = this.#options;
    const isPrepared = "item" in reading && !prepare;
    this.#mode ??= isPrepared ? "prepared" : "samples";
    if (this.#mode === "prepared") {
      if ("item" in reading) return this.#keep(reading.item);
      return { code: "split_missing", message: "the file's first row has split and group, this one has not" };
    }
    const candidate = await this.#candidateOf(reading);
    if ("code" in candidate) return candidate;
    const field = findUnstorable({ sample: candidate.sample, split: "train", group: "" });
    if (field !== null) return unstorable(field);
    if (prepare === false) return this.#keep(await this.#asItStands(candidate));
    if (this.#candidates.length === MAX_PREPARED) {
      const message = `More than ${MAX_PREPARED} samples cannot be prepared at once. Import them with prepare: false, or in several files.`;
      throw new ValidationError("payload_too_large", message, { details: { most: MAX_PREPARED } });
    }
    this.#candidates.push(candidate);
    return null;
  }

  async write(file: NonNullable<Dataset["lineage"]["import"]>): Promise<Dataset> {
    const { signal } = this.#options;
    const { preparation, ...header } = this.#target;
    const lineage = { source: "import", import: file } as const;
    if (this.#spooled === 0) {
      const prepared = await prepareCandidates(this.#candidates, preparation, this.#parts, { signal });
      const { items, statistics, report } = prepared;
      if (items.length === 0) {
        const reasons = [...new Set(report.removed.map(({ reason }) => reason.split(":", 1)[0]!))];
        const message = `The dataset ${JSON.stringify(header.name)} would be empty: all ${report.received} samples were removed (${reasons.join(", ")}).`;
        throw new ValidationError("dataset_empty", message, { details: { name: header.name, received: report.received, reasons } });
      }
      const sampleIds = items.slice(0, KEPT_SAMPLE_IDS).map((item) => item.sample.id);
      const stored = { options: preparation as Record<string, unknown>, report };
      return this.#parts.registry.create(
        { ...header, items, statistics, lineage: { ...lineage, sampleIds }, preparation: stored },
        { signal },
      );
    }
    return this.#parts.registry.createStreamed(
      {
        ...header,
        items: this.#spool.values<DatasetItem>(),
        itemCount: this.#spooled,
        contentHash: this.#hash.digest(),
        quality: this.#qualitySum / this.#spooled,
        statistics: this.#statistics.result(this.#parts.tokenizer === undefined),
        lineage: { ...lineage, sampleIds: this.#sampleIds },
      },
      { signal },
    );
  }

  async close(): Promise<void> {
    await this.#spool.close();
  }

  async #keep(item: DatasetItem): Promise<Problem | null> {
    const field = findUnstorable(item);
    if (field !== null) return unstorable(field);
    const text = `${item.sample.prompt}\n${item.sample.response}`;
    this.#statistics.add(item, (await this.#parts.tokenizer?.count([text]))?.[0] ?? estimateTokens(text));
    this.#hash.add(item);
    this.#qualitySum += item.sample.qualityScore;
    this.#spooled += 1;
    if (this.#sampleIds.length < KEPT_SAMPLE_IDS) this.#sampleIds.push(item.sample.id);
    await this.#spool.add(item);
    return null;
  }

  async #candidateOf(reading: Exclude<Reading, { problem: Problem }>): Promise<Candidate | Problem> {
    const domain = this.#target.preparation.domain;
    const index = this.#candidates.length;
    if ("feedback" in reading) return this.#fromFeedback(reading.feedback, domain);
    const [candidate] = toCandidates(["item" in reading ? reading.item.sample : reading.sample], domain);
    return candidate && !isUnusable(candidate) ? candidate : { code: "row_invalid", message: `sample ${index} cannot be used` };
  }

  async #fromFeedback(feedback: FeedbackInput, domain: string | undefined): Promise<Candidate | Problem> {
    const parsed = FeedbackInput.safeParse(feedback);
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      return { code: "row_invalid", message: `${issue?.path.join(".") || "it"} is invalid: ${issue?.message}` };
    }
    const isIncomplete = feedback.generationId !== undefined && (feedback.prompt === undefined || feedback.response === undefined);
    const found = isIncomplete ? await this.#parts.generation(feedback.generationId!, { signal: this.#options.signal }) : null;
    const candidate = fromFeedback({ ...found, ...feedback }, 0, domain);
    if (!isUnusable(candidate)) return candidate;
    const [code, message] = candidate.reason.split(": ", 2) as [Problem["code"], string];
    return { code, message };
  }

  async #asItStands({ sample, kind, hasScore }: Candidate): Promise<DatasetItem> {
    const { signal } = this.#options;
    const qualityScore = hasScore ? sample.qualityScore : (await this.#parts.quality.check(sample, { kind, signal })).score;
    const split = sample.objective === "preference" ? "preference" : "train";
    return { sample: { ...sample, qualityScore }, split, group: groupKeyOf(sample.response) };
  }
}
