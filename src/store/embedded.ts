import { randomBytes, randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { AbortedError, ClaraError, ConfigurationError, StorageError } from "../errors.js";
import { databaseErrorCode, databaseErrorText } from "./database-error.js";
import { type DirectoryLock, lockDirectory } from "./directory-lock.js";
import { FileJournal } from "./journal.js";
import { PgliteProcess } from "./pglite-process.js";
import { copyTemplate, saveTemplate } from "./pglite-template.js";
import type { Journal } from "./store.js";
import type { WireAddress } from "./wire-server.js";

/** Longest path of a Unix socket, in bytes (108 with the terminating zero on Linux, 104 on macOS). */
const MAX_SOCKET_PATH_BYTES = process.platform === "darwin" ? 103 : 107;
/** Connections take turns: more only queue. */
const POOL_SIZE = 8;

/** Default of `closeTimeoutMs`. */
const CLOSE_TIMEOUT_MS = 60_000;
/** One segment of the write-ahead log: with less space than this the engine cannot go on. */
const ENGINE_NEEDS_BYTES = 16 * 1024 * 1024;

/** How long after its connections an engine that broke may take to end, in milliseconds. */
const ENDING_MS = 1000;

/** The embedded database while it is open. */
export interface EmbeddedDatabase {
  dataDir: string;
  pool: pg.Pool;
  journal: Journal;
  /** Why the engine ended, where it has or is about to; null where it runs. */
  failure(): Promise<StorageError | null>;
  close(): Promise<void>;
}

/** Options of {@link openEmbedded}. */
export interface EmbeddedOptions {
  dataDir: string;
  /** The database is gone: its thread broke, or another process took the lock. */
  onFailure(error: StorageError): void;
  signal?: AbortSignal | undefined;
  /** A transaction idle this long while others wait is cut off; default 60 s. */
  idleInTransactionMs?: number | undefined;
  /** An engine that does not shut down in this time is ended; default 60 s. */
  closeTimeoutMs?: number | undefined;
  /** A checkpoint beside the work failed: the journal stays longer. */
  onCheckpointError?: ((error: unknown) => void) | undefined;
  /** `tcp` even where there are Unix sockets. */
  transport?: "unix" | "tcp" | undefined;
}

/**
 * Opens the embedded database of a folder: lock, thread, pool, journal.
 * @throws StorageError `store_locked`, `store_unavailable`, `disk_full`, `journal_corrupt`
 */
export async function openEmbedded(options: EmbeddedOptions): Promise<EmbeddedDatabase> {
  const dataDir = resolve(options.dataDir);
  await makeFolder(dataDir);
  let thread: PgliteProcess | null = null;
  let lock: DirectoryLock | null = null;
  let socketFolder: string | null = null;
  let journal: FileJournal | null = null;
  let isLost = false;
  const cleanUp = async () => {
    await thread?.kill();
    await journal?.close();
    // After a lost lock the folder beside the data is the new holder's.
    if (socketFolder !== null && !isLost) await rm(socketFolder, { recursive: true, force: true });
    await lock?.release();
    lock = null;
  };
  try {
    lock = await lockDirectory(dataDir, {
      signal: options.signal,
      onLost: (error) => {
        // Whoever took the folder now writes to it: stop at once, without a clean shutdown.
        isLost = true;
        void thread?.kill();
        options.onFailure(lostLock(dataDir, error));
      },
    });
    journal = await FileJournal.open({
      folder: join(dataDir, "journal"),
      onSegmentFull: () => void checkpoint().catch((error: unknown) => options.onCheckpointError?.(error)),
    });
    const folder = join(dataDir, "database");
    await prepareFolder(folder, options.signal);
    const place = await choosePlace(dataDir, options.transport);
    socketFolder = place.folder;
    const startedThread = new PgliteProcess(
      { folder, address: place.address, idleInTransactionMs: options.idleInTransactionMs ?? 60_000 },
      { answerTimeoutMs: options.closeTimeoutMs ?? CLOSE_TIMEOUT_MS },
    );
    thread = startedThread;
    const port = await abortable(startedThread.ready(), options.signal).catch(async (error: unknown) => {
      throw await startError(folder, error);
    });
    const failure = startedThread.ended.then((error) => (error === null ? null : brokenError(folder, error)));
    void failure.then((error) => {
      if (error !== null) options.onFailure(error);
    });
    const pool = new pg.Pool({ ...place.client(port), user: "postgres", database: "postgres", max: POOL_SIZE, allowExitOnIdle: true });
    pool.on("connect", (client) => client.on("error", () => {}));
    const openJournal = journal;
    const checkpoint = () => openJournal.checkpoint(() => startedThread.checkpoint());
    return {
      dataDir,
      pool,
      journal: {
        append: (entry) => openJournal.append(entry),
        replay: (kind, apply) => openJournal.replay(kind, apply),
        checkpoint,
      },
      failure: () => Promise.race([failure, delay(ENDING_MS, null, { ref: false })]),
      close: async () => {
        try {
          await pool.end();
          if (isLost) return;
          await openJournal.checkpoint(() => startedThread.close());
          // The journal keeps what has no reader yet, and then closes nothing.
          await startedThread.close();
        } catch (error) {
          throw ClaraError.isInstance(error) ? error : await brokenError(folder, error as Error);
        } finally {
          await cleanUp();
        }
      },
    };
  } catch (error) {
    await cleanUp();
    throw isReadOnly(error) ? readOnlyError(dataDir, error) : error;
  }
}

/** Where clients and the thread meet. */
async function choosePlace(
  dataDir: string,
  transport: EmbeddedOptions["transport"],
): Promise<{ address: WireAddress; folder: string | null; client(port: number): pg.PoolConfig }> {
  if (transport === "tcp" || process.platform === "win32") {
    // Any local user can reach a loopback port.
    const password = randomBytes(24).toString("base64url");
    return { address: { port: 0, password }, folder: null, client: (port) => ({ host: "127.0.0.1", port, password }) };
  }
  const beside = join(dataDir, "socket");
  const isShort = Buffer.byteLength(join(beside, ".s.PGSQL.5432")) <= MAX_SOCKET_PATH_BYTES;
  const folder = isShort ? beside : await mkdtemp(join(tmpdir(), "clara-"));
  if (isShort) {
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { mode: 0o700 });
  }
  return { address: { path: join(folder, ".s.PGSQL.5432") }, folder, client: () => ({ host: folder, port: 5432 }) };
}

/** Makes the database's files where there are none; a crash in between leaves no half-made folder. */
async function prepareFolder(folder: string, signal: AbortSignal | undefined): Promise<void> {
  const parent = dirname(folder);
  for (const name of await readdir(parent)) {
    if (/^database\.[0-9a-f-]{36}$/.test(name)) await rm(join(parent, name), { recursive: true, force: true });
  }
  if (existsSync(folder) || (await copyTemplate(folder))) return;
  const half = `${folder}.${randomUUID()}`;
  const thread = new PgliteProcess({ folder: half, address: null, idleInTransactionMs: 0 }, { answerTimeoutMs: CLOSE_TIMEOUT_MS });
  try {
    await abortable(thread.ready(), signal);
    await thread.close();
    await saveTemplate(half);
    await rename(half, folder);
  } catch (error) {
    await thread.kill();
    await rm(half, { recursive: true, force: true });
    throw await startError(folder, error);
  }
}

async function makeFolder(dataDir: string): Promise<void> {
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOSPC") throw await startError(dataDir, error);
    throw new ConfigurationError(
      "config_invalid",
      `The data folder ${dataDir} cannot be made (${code}): choose a folder that this process may write.`,
      {
        cause: error,
        details: { dataDir },
      },
    );
  }
}

function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolvePromise, reject) => {
    const abort = () => reject(new AbortedError("Opening the store was aborted.", { cause: signal.reason }));
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolvePromise, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** What the operating system says of a disk that was mounted, or turned, read-only, and of files of another user. */
function isReadOnly(error: unknown): boolean {
  return ["EROFS", "EACCES", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "");
}

function readOnlyError(dataDir: string, error: unknown): StorageError {
  const { code: errno } = error as NodeJS.ErrnoException;
  return new StorageError(
    "store_unavailable",
    `The data folder ${dataDir} cannot be written (${errno}); what is in it is as it was. Make the folder and all in it writable for this process, or choose another one, then open again.`,
    { cause: error, details: { dataDir, errno } },
  );
}

async function startError(folder: string, error: unknown): Promise<unknown> {
  if (ClaraError.isInstance(error)) return error;
  if (isReadOnly(error)) return readOnlyError(dirname(folder), error);
  const text = databaseErrorText(error);
  const options = { cause: error, details: { folder } };
  return (await isDiskFull(folder, error))
    ? new StorageError(
        "disk_full",
        `No space to open the embedded database in ${folder}. Free some space (a new one takes about 40 MB), then open again.`,
        options,
      )
    : new StorageError(
        "store_unavailable",
        `The embedded database in ${folder} does not start: ${text}. If its files are damaged, restore the folder from a backup.`,
        options,
      );
}

async function brokenError(folder: string, error: Error): Promise<StorageError> {
  const isFull = await isDiskFull(folder, error);
  const cause = isFull ? "the disk is full" : error.message;
  return new StorageError(
    isFull ? "disk_full" : "store_unavailable",
    `The embedded database in ${folder} stopped: ${cause}. What was acknowledged is kept; close the store, see that the disk is writable and has space, and open it again.`,
    { cause: error, details: { folder } },
  );
}

/** The engine hides the operating system's reason behind its own: then the free space tells. */
async function isDiskFull(folder: string, error: unknown): Promise<boolean> {
  const code = databaseErrorCode(error);
  if (code === "ENOSPC" || code === "EDQUOT" || code === "53100") return true;
  try {
    const { bavail, bsize } = await statfs(dirname(folder));
    return bavail * bsize < ENGINE_NEEDS_BYTES;
  } catch {
    // Not known.
    return false;
  }
}

function lostLock(dataDir: string, error: Error): StorageError {
  return new StorageError(
    "store_locked",
    `The lock of ${dataDir} was lost (${error.message}), so this process stopped using the store. See that no other process opens the folder, then open it again.`,
    {
      cause: error,
      details: { dataDir },
    },
  );
}
