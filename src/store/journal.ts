import { type FileHandle, mkdir, open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { StorageError } from "../errors.js";
import { flushPath } from "./flush-folder.js";
import { encodeLine } from "./journal-line.js";
import { readSegment } from "./journal-segment.js";
import type { Journal, JournalEntry } from "./store.js";

/** Options of {@link FileJournal.open}. */
export interface FileJournalOptions {
  /** Folder of the segments `NNNNNNNN.jsonl`; created where absent. */
  folder: string;
  /** Forces written data to the disk; default `handle.datasync()`. */
  sync?: (handle: FileHandle) => Promise<void>;
  /** Called once each time the live segment has grown by `segmentBytes`. */
  onSegmentFull?: () => void;
  /** Default 64 MiB. */
  segmentBytes?: number;
}

interface Waiting {
  entry: string;
  resolve(): void;
  reject(error: unknown): void;
}

/**
 * The append-only file behind acknowledged records: JSON lines with a checksum, group commit (concurrent appends share one fdatasync).
 * A line cut off by a crash is dropped at the next open; it was never acknowledged.
 */
export class FileJournal implements Omit<Journal, "checkpoint"> {
  readonly #folder: string;
  readonly #sync: (handle: FileHandle) => Promise<void>;
  readonly #segmentBytes: number;
  readonly #onSegmentFull: () => void;
  #handle: FileHandle | null;
  #segment: number;
  #size: number;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | null = null;
  /** Kinds in segments of earlier runs that no reader has replayed yet: those segments must stay. */
  readonly #unreplayed: Set<string>;
  #isFullTold = false;
  /** Bytes of a failed batch lie behind `#size`. */
  #hasLeftovers = false;

  private constructor(options: FileJournalOptions, handle: FileHandle, segment: number, size: number, unreplayed: Set<string>) {
    this.#folder = options.folder;
    this.#sync = options.sync ?? ((file) => file.datasync());
    this.#segmentBytes = options.segmentBytes ?? 64 * 1024 * 1024;
    this.#onSegmentFull = options.onSegmentFull ?? (() => {});
    this.#handle = handle;
    this.#segment = segment;
    this.#size = size;
    this.#unreplayed = unreplayed;
  }

  /**
   * Opens the folder's journal and checks what is in it.
   * @throws StorageError `journal_corrupt` naming file and line, where anything but the last line is damaged
   */
  static async open(options: FileJournalOptions): Promise<FileJournal> {
    await mkdir(options.folder, { recursive: true, mode: 0o700 });
    const segments = await listSegments(options.folder);
    const kinds = new Set<string>();
    for (const segment of segments) {
      const isLast = segment === segments.at(-1);
      const goodBytes = await readSegment(segmentPath(options.folder, segment), isLast, (entry) => void kinds.add(entry.kind));
      if (isLast) await cutOff(segmentPath(options.folder, segment), goodBytes);
    }
    // Always a fresh segment, so that a checkpoint can tell what this run wrote from what earlier runs left.
    const segment = (segments.at(-1) ?? 0) + 1;
    const handle = await startSegment(options.folder, segment);
    return new FileJournal(options, handle, segment, 0, kinds);
  }

  append(entry: JournalEntry): Promise<void> {
    if (this.#handle === null) return Promise.reject(closedJournal());
    return new Promise((resolve, reject) => {
      const { kind, id, payload } = entry;
      this.#waiting.push({ entry: JSON.stringify({ kind, id, payload }), resolve, reject });
      this.#writing ??= this.#drain();
    });
  }

  async replay(kind: string, apply: (entry: JournalEntry) => Promise<void>): Promise<number> {
    let count = 0;
    for (const segment of await listSegments(this.#folder)) {
      const entries: JournalEntry[] = [];
      await readSegment(segmentPath(this.#folder, segment), true, (entry) => {
        if (entry.kind === kind) entries.push(entry);
      });
      for (const entry of entries) {
        await apply(entry);
        count += 1;
      }
    }
    this.#unreplayed.delete(kind);
    return count;
  }

  /**
   * Drops segments whose entries the database has on disk: call `flush` to get it there. What is appended meanwhile stays.
   * Does nothing while entries of an earlier run wait for their reader.
   */
  async checkpoint(flush: () => Promise<void>): Promise<void> {
    if (this.#unreplayed.size > 0 || this.#handle === null) return;
    const kept = await this.#startNextSegment();
    await flush();
    for (const segment of await listSegments(this.#folder)) {
      if (segment < kept) await rm(segmentPath(this.#folder, segment), { force: true });
    }
    await flushPath(this.#folder);
  }

  /** Waits for appends in flight, then closes the file. */
  async close(): Promise<void> {
    const handle = this.#handle;
    await this.#writing;
    this.#handle = null;
    if (handle !== null && this.#hasLeftovers) await this.#cutLeftovers(handle).catch(() => {});
    await handle?.close();
    if (this.#size === 0) await rm(segmentPath(this.#folder, this.#segment), { force: true });
  }

  async #startNextSegment(): Promise<number> {
    await this.#writing;
    const previous = this.#handle;
    if (previous === null) throw closedJournal();
    if (this.#size === 0) return this.#segment;
    const next = await startSegment(this.#folder, this.#segment + 1);
    // An append may have begun while the file was made: it must finish in the old one.
    await this.#writing;
    this.#segment += 1;
    this.#handle = next;
    this.#size = 0;
    this.#isFullTold = false;
    await previous.close();
    return this.#segment;
  }

  async #drain(): Promise<void> {
    // One more turn of the loop, so that appends of the same moment travel together.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        await this.#write(batch.map((waiting, index) => encodeLine(waiting.entry, index)).join(""));
        for (const waiting of batch) waiting.resolve();
      } catch (error) {
        const mapped = journalError(error, segmentPath(this.#folder, this.#segment));
        for (const waiting of batch) waiting.reject(mapped);
      }
    }
    this.#writing = null;
    if (this.#size > this.#segmentBytes && !this.#isFullTold) {
      this.#isFullTold = true;
      this.#onSegmentFull();
    }
  }

  async #write(text: string): Promise<void> {
    const handle = this.#handle;
    if (handle === null) throw closedJournal();
    const bytes = Buffer.from(text, "utf8");
    try {
      if (this.#hasLeftovers) await this.#cutLeftovers(handle);
      let written = 0;
      while (written < bytes.length) {
        const result = await handle.write(bytes, written, bytes.length - written, this.#size + written);
        written += result.bytesWritten;
      }
      await this.#sync(handle);
      this.#size += bytes.length;
    } catch (error) {
      // Nothing of the batch was acknowledged: its bytes go before the next batch, which must follow a whole line.
      this.#hasLeftovers = true;
      throw error;
    }
  }

  async #cutLeftovers(handle: FileHandle): Promise<void> {
    await handle.truncate(this.#size);
    this.#hasLeftovers = false;
  }
}

async function listSegments(folder: string): Promise<number[]> {
  const names = await readdir(folder);
  return names
    .map((name) => /^(\d{8})\.jsonl$/.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
    .sort((left, right) => left - right);
}

function segmentPath(folder: string, segment: number): string {
  return join(folder, `${String(segment).padStart(8, "0")}.jsonl`);
}

async function startSegment(folder: string, segment: number): Promise<FileHandle> {
  const path = segmentPath(folder, segment);
  try {
    const handle = await open(path, "wx", 0o600);
    await flushPath(folder);
    return handle;
  } catch (error) {
    throw journalError(error, path);
  }
}

async function cutOff(path: string, bytes: number): Promise<void> {
  const handle = await open(path, "r+");
  try {
    if ((await handle.stat()).size > bytes) {
      await handle.truncate(bytes);
      await handle.datasync();
    }
  } finally {
    await handle.close();
  }
}

function closedJournal(): StorageError {
  return new StorageError("store_closed", "The journal is closed. Keep the store open until the last call is done.");
}

function journalError(error: unknown, path: string): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  const options = { cause: error, isRetryable: true, details: { path, ...(code ? { errno: code } : {}) } };
  if (code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG") {
    return new StorageError(
      "disk_full",
      `No space to write ${path}: nothing of this call was kept. Free some space, then repeat it.`,
      options,
    );
  }
  if (code === undefined) return error;
  return new StorageError(
    "store_unavailable",
    `Cannot write ${path} (${code}): nothing of this call was kept. Make the folder writable, then repeat it.`,
    options,
  );
}
