import { readFile, rm } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import writeFileAtomic from "write-file-atomic";
import { AbortedError, StorageError } from "../errors.js";
import { processStart } from "./process-start.js";

/** Who holds a data folder. */
export interface LockHolder {
  pid: number;
  host: string;
  since: string;
  /** Tells a process from a later one with the same id; null where the platform does not say. */
  start: string | null;
}

/** A held folder lock. */
export interface DirectoryLock {
  release(): Promise<void>;
}

/** After this long without a sign of life a holder counts as dead, in milliseconds. */
const STALE_MS = 5000;
const UPDATE_MS = 1000;

/**
 * Takes the lock of a data folder: two processes in one embedded database destroy it silently.
 * Waits for a crashed holder's lock to lapse (about 6 s), and refuses at once where the holder is seen alive.
 * @throws StorageError `store_locked`
 */
export async function lockDirectory(
  folder: string,
  options: { onLost(error: Error): void; signal?: AbortSignal | undefined },
): Promise<DirectoryLock> {
  // Imported late: the module installs exit handlers, which only a program that opens a store needs.
  const { default: lockfile } = await import("proper-lockfile");
  const holderFile = join(folder, "lock.json");
  const deadline = Date.now() + STALE_MS + 2 * UPDATE_MS;
  for (;;) {
    if (options.signal?.aborted) throw new AbortedError("Opening the store was aborted.", { cause: options.signal.reason });
    const holder = await readHolder(holderFile);
    if (holder !== null && (await isSurelyAlive(holder))) throw lockedError(folder, holder);
    try {
      const release = await lockfile.lock(folder, {
        lockfilePath: join(folder, "lock"),
        stale: STALE_MS,
        update: UPDATE_MS,
        onCompromised: options.onLost,
      });
      await writeHolder(holderFile);
      return {
        release: async () => {
          await rm(holderFile, { force: true });
          await release();
        },
      };
    } catch (error) {
      if ((error as { code?: unknown }).code !== "ELOCKED") throw error;
      if (Date.now() > deadline) throw lockedError(folder, await readHolder(holderFile));
      await delay(250);
    }
  }
}

async function writeHolder(path: string): Promise<void> {
  const holder: LockHolder = {
    pid: process.pid,
    host: hostname(),
    since: new Date().toISOString(),
    start: await processStart(process.pid),
  };
  await writeFileAtomic(path, `${JSON.stringify(holder)}\n`, { mode: 0o600, fsync: false });
}

async function readHolder(path: string): Promise<LockHolder | null> {
  try {
    const holder = JSON.parse(await readFile(path, "utf8")) as Partial<LockHolder>;
    return typeof holder.pid === "number" && typeof holder.host === "string" ? (holder as LockHolder) : null;
  } catch {
    // Absent, or torn by a crash: then the lock itself decides.
    return null;
  }
}

/** Only certainty refuses at once; in doubt the lock's age decides. */
async function isSurelyAlive(holder: LockHolder): Promise<boolean> {
  return holder.host === hostname() && holder.start !== null && holder.start === (await processStart(holder.pid));
}

function lockedError(folder: string, holder: LockHolder | null): StorageError {
  const self = holder?.pid === process.pid && holder.host === hostname();
  const who =
    holder === null ? "another process" : self ? "this process" : `process ${holder.pid} on ${holder.host} (since ${holder.since})`;
  return new StorageError(
    "store_locked",
    `The store in ${folder} is in use by ${who}. Close it there first, use another folder, or let several processes share one PostgreSQL (the option \`database\`).`,
    { isRetryable: true, details: { dataDir: folder, ...(holder ? { pid: holder.pid, host: holder.host, since: holder.since } : {}) } },
  );
}
