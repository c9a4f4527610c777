import { AbortedError, ValidationError } from "../../errors.js";
import type { CallOptions, Dataset, DatasetItem } from "../../types/index.js";
import { FeedbackInput } from "../../types/index.js";
import { groupKeyOf } from "../answer-group.js";
import { ContentHash, findUnstorable } from "../content-hash.js";
import { KEPT_SAMPLE_IDS } from "../dataset-input.js";
import { toCandidates } from "../preparation.js";
import { orderKeyOf, type PrepareOptions, prepareRows } from "../prepare-rows.js";
import type { QualityChecker } from "../quality-checker.js";
import { type DatasetRegistry, KEPT_REMOVALS, type NewDataset } from "../registry.js";
import { Removals } from "../removals.js";
import { type Candidate, fromFeedback, isUnusable } from "../sample-input.js";
import { StatisticsCollector } from "../statistics.js";
import { estimateTokens, type Tokenizer } from "../tokenizer.js";
import { ByteSource, type ImportSource } from "./byte-source.js";
import { type ImportDatasetOptions, type ImportDatasetProgress, type ImportDatasetResult, parseImportOptions } from "./import-options.js";
import { readSource } from "./read-source.js";
import type { Reading } from "./reading.js";
import type { Place, Problem } from "./record.js";
import { SortedSpool } from "./sorted-spool.js";
import { Spool } from "./spool.js";
import { SpooledShelf } from "./spooled-shelf.js";

/** Some 300 bytes of each sample stay in memory until all are compared; `MOST_ROWS` is a little more. */
const MAX_PREPARED = 2_000_000;
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
  let reported = 0;
  const report = (): void => options.onProgress?.({ ...progress, bytes: bytes.bytes });
  try {
    for await (const { readings, ...place } of readSource(bytes, settings)) {
      if (signal?.aborted) throw new AbortedError();
      progress.rows += readings.length === 0 ? 0 : (readings.at(-1)?.entry ?? 1);
      for (const reading of readings) {
        const problem = await rows.take(reading);
        if (problem === null) progress.accepted += 1;
        else {
          progress.rejected += 1;
          const { entry } = reading;
          if (errors.length < MAX_ERRORS) errors.push({ ...(place as Place), ...(entry === undefined ? {} : { entry }), ...problem });
        }
      }
      if (progress.rows - reported < PROGRESS_EVERY) continue;
      reported = progress.rows;
      report();
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
  const why =
    rows === 0
      ? "the source has no records"
      : `none of its ${rows} records could be used (${codes.join(", ")}); the first: ${errors[0]?.message}`;
  return new ValidationError("dataset_empty", `The dataset ${JSON.stringify(name)} would be empty: ${why}.`, {
    details: { name, received: rows, reasons: codes, errors: errors.slice(0, 20) },
  });
}

function unstorable(field: string): Problem {
  return { code: "text_invalid", message: `${field} has U+0000 or half a surrogate pair` };
}

/** Rows on their way into a dataset, on disk: those to be prepared are sorted there first. */
class CollectedRows {
  readonly #options: ImportDatasetOptions;
  readonly #target: ImportTarget;
  readonly #parts: ImportParts;
  readonly #spool: Spool;
  readonly #hash = new ContentHash();
  readonly #statistics = new StatisticsCollector();
  readonly #sampleIds: string[] = [];
  readonly #candidates: SortedSpool<Candidate>;
  #candidateCount = 0;
  #qualitySum = 0;
  #rows = 0;
  #mode: "prepared" | "samples" | undefined;

  private constructor(
    options: ImportDatasetOptions,
    target: ImportTarget,
    parts: ImportParts,
    files: { spool: Spool; candidates: SortedSpool<Candidate> },
  ) {
    this.#options = options;
    this.#target = target;
    this.#parts = parts;
    this.#spool = files.spool;
    this.#candidates = files.candidates;
  }

  static async open(options: ImportDatasetOptions, target: ImportTarget, parts: ImportParts): Promise<CollectedRows> {
    return new CollectedRows(options, target, parts, { spool: await Spool.open(), candidates: await SortedSpool.open() });
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
    if (this.#candidateCount === MAX_PREPARED) {
      const message = `More than ${MAX_PREPARED} samples cannot be prepared at once. Import them with prepare: false, or in several files.`;
      throw new ValidationError("payload_too_large", message, { details: { most: MAX_PREPARED } });
    }
    await this.#candidates.add(orderKeyOf(candidate), candidate);
    this.#candidateCount += 1;
    return null;
  }

  async write(file: NonNullable<Dataset["lineage"]["import"]>): Promise<Dataset> {
    const { preparation: _preparation, ...header } = this.#target;
    const prepared = this.#candidateCount > 0 ? await this.#prepare() : null;
    return this.#parts.registry.createStreamed(
      {
        ...header,
        items: prepared?.items ?? this.#spool.values<DatasetItem>(),
        itemCount: this.#rows,
        contentHash: this.#hash.digest(),
        quality: this.#qualitySum / this.#rows,
        statistics: this.#statistics.result(this.#parts.tokenizer === undefined),
        lineage: { source: "import", import: file, sampleIds: this.#sampleIds },
        preparation: prepared?.preparation,
      },
      { signal: this.#options.signal },
    );
  }

  async close(): Promise<void> {
    await this.#spool.close();
    await this.#candidates.close();
  }

  /** The samples go from one file into the other, in their order, and are read from there as often as needed. */
  async #prepare(): Promise<{ items: AsyncIterable<DatasetItem>; preparation: NonNullable<NewDataset["preparation"]> }> {
    const { name, preparation: options } = this.#target;
    const parts = { ...this.#parts, shelf: new SpooledShelf(this.#spool), removals: new Removals(KEPT_REMOVALS) };
    const { received, kept, removals, rows } = await prepareRows(this.#candidates.sorted(), options, parts, {
      signal: this.#options.signal,
    });
    const { first: removed, reasons } = removals;
    if (kept === 0) {
      const names = Object.keys(reasons);
      const message = `The dataset ${JSON.stringify(name)} would be empty: all ${received} samples were removed (${names.join(", ")}).`;
      throw new ValidationError("dataset_empty", message, { details: { name, received, reasons: names } });
    }
    for await (const { item, tokens } of rows()) this.#count(item, tokens);
    async function* items(): AsyncGenerator<DatasetItem> {
      for await (const { item } of rows()) yield item;
    }
    return { items: items(), preparation: { options: options as Record<string, unknown>, report: { received, kept, removed }, reasons } };
  }

  async #keep(item: DatasetItem): Promise<Problem | null> {
    const field = findUnstorable(item);
    if (field !== null) return unstorable(field);
    const text = `${item.sample.prompt}\n${item.sample.response}`;
    this.#count(item, (await this.#parts.tokenizer?.count([text]))?.[0] ?? estimateTokens(text));
    await this.#spool.add(item);
    return null;
  }

  #count(item: DatasetItem, tokens: number): void {
    this.#statistics.add(item, tokens);
    this.#hash.add(item);
    this.#qualitySum += item.sample.qualityScore;
    this.#rows += 1;
    if (this.#sampleIds.length < KEPT_SAMPLE_IDS) this.#sampleIds.push(item.sample.id);
  }

  async #candidateOf(reading: Exclude<Reading, { problem: Problem }>): Promise<Candidate | Problem> {
    const domain = this.#target.preparation.domain;
    const index = this.#candidateCount;
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
