import { existsSync, rmdirSync } from "node:fs";
import { readFile, rename, rm, rmdir, stat, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { AbortedError, StorageError } from "../errors.js";
import { processSpace, processStart } from "./process-identity.js";

/** Who holds a data folder. */
export interface LockHolder {
  pid: number;
  host: string;
  since: string;
  /** Where its id means something, and its start time, which tells it from a later process with the same id; null where not known. */
  space: string | null;
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
 * Refuses at once where the holder is seen alive, takes over at once where it is seen dead, and waits where nobody can tell
 * (another host, no /proc) until its lock has lapsed, about 6 s.
 * @throws StorageError `store_locked`
 */
export async function lockDirectory(
  folder: string,
  options: { onLost(error: Error): void; signal?: AbortSignal | undefined },
): Promise<DirectoryLock> {
  // Imported late: the module installs exit handlers, which only a program that opens a store needs.
  const { default: lockfile } = await import("proper-lockfile");
  const lockPath = join(folder, "lock");
  const holderPath = join(folder, "lock.json");
  const deadline = Date.now() + STALE_MS + 2 * UPDATE_MS;
  for (;;) {
    if (options.signal?.aborted) throw new AbortedError("Opening the store was aborted.", { cause: options.signal.reason });
    const holder = await readHolder(holderPath);
    const state = holder === null ? "unknown" : await stateOf(holder);
    if (holder !== null && state === "alive" && existsSync(lockPath)) throw lockedError(folder, holder);
    if (holder !== null && state === "dead") await breakLock(lockPath, holderPath, holder);
    let onLost = options.onLost;
    try {
      const release = await lockfile.lock(folder, {
        lockfilePath: lockPath,
        stale: STALE_MS,
        update: UPDATE_MS,
        onCompromised: (error) => onLost(error),
      });
      const held = await holdLock(lockPath, holderPath, release);
      onLost = (error) => {
        held.lose();
        options.onLost(error);
      };
      return held;
    } catch (error) {
      if ((error as { code?: unknown }).code !== "ELOCKED") throw error;
      if (Date.now() > deadline) throw lockedError(folder, await readHolder(holderPath));
      await delay(250);
    }
  }
}

async function holdLock(lockPath: string, holderPath: string, release: () => Promise<void>): Promise<DirectoryLock & { lose(): void }> {
  const [space, start] = await Promise.all([processSpace(), processStart(process.pid)]);
  const holder: LockHolder = { pid: process.pid, host: hostname(), since: new Date().toISOString(), space, start };
  await writeFile(holderPath, `${JSON.stringify(holder)}\n`, { mode: 0o600 });
  // The lock's own exit handler is lost where two versions of its helper meet in one process.
  const onExit = () => {
    try {
      rmdirSync(lockPath);
    } catch {
      // Gone already, or not ours to delete any more: it lapses by itself.
    }
  };
  process.once("exit", onExit);
  let isLost = false;
  return {
    lose: () => {
      isLost = true;
      process.off("exit", onExit);
    },
    release: async () => {
      // What lies there now is another holder's.
      if (isLost) return;
      process.off("exit", onExit);
      await rm(holderPath, { force: true });
      await release();
    },
  };
}

/** Removes the lock of a process that is certainly dead. Renaming its record decides who may: one among many that try. */
async function breakLock(lockPath: string, holderPath: string, holder: LockHolder): Promise<void> {
  const claimed = `${holderPath}.${process.pid}`;
  try {
    // A lock about to lapse is left to the ordinary way, which could be removing it at this very moment.
    if (Date.now() - (await stat(lockPath)).mtimeMs > STALE_MS - UPDATE_MS) return;
    // Another user's processes may be hidden from this one.
    if ((await stat(holderPath)).uid !== process.getuid?.()) return;
    await rename(holderPath, claimed);
    const found = await readHolder(claimed);
    if (found?.pid === holder.pid && found.start === holder.start) {
      await rmdir(lockPath);
      await rm(claimed, { force: true });
    } else await rename(claimed, holderPath);
  } catch (error) {
    // Another process was first.
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
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

/** Only certainty decides at once; in doubt (another host, another container) the lock's age does. */
async function stateOf(holder: LockHolder): Promise<"alive" | "dead" | "unknown"> {
  if (holder.space === null || holder.start === null || holder.space !== (await processSpace())) return "unknown";
  return holder.start === (await processStart(holder.pid)) ? "alive" : "dead";
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
