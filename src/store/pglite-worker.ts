/** The thread in which the embedded database runs, so that a long query never holds up the application's event loop. */
import { parentPort, workerData } from "node:worker_threads";
import { PGlite } from "@electric-sql/pglite";
import { pg_trgm } from "@electric-sql/pglite/contrib/pg_trgm";
import { unaccent } from "@electric-sql/pglite/contrib/unaccent";
import { vector } from "@electric-sql/pglite-pgvector";
import { flushFolder } from "./flush-folder.js";
import { type WireAddress, WireServer } from "./wire-server.js";

/** What the thread is started with. */
export interface PgliteWorkerData {
  /** Folder of the database files. */
  folder: string;
  /** Null where the files are only to be made. */
  address: WireAddress | null;
  idleInTransactionMs: number;
}

/** What the owner asks for. */
export type PgliteWorkerRequest = { kind: "checkpoint" | "close" };

/** What the thread tells its owner. */
export type PgliteWorkerMessage =
  | { kind: "ready"; port: number }
  | { kind: "checkpointed" | "closed"; error?: string }
  | { kind: "fatal"; message: string; code?: string };

const port = parentPort;
if (port !== null) await serve(workerData as PgliteWorkerData);

async function serve(data: PgliteWorkerData): Promise<void> {
  const tell = (message: PgliteWorkerMessage) => port?.postMessage(message);
  const fail = (error: unknown) => {
    const code = (error as { code?: unknown }).code;
    tell({ kind: "fatal", message: error instanceof Error ? error.message : String(error), ...(typeof code === "string" ? { code } : {}) });
  };
  try {
    const db = await PGlite.create({ dataDir: data.folder, extensions: { vector, pg_trgm, unaccent } });
    const server = new WireServer(db, { idleInTransactionMs: data.idleInTransactionMs, onFatal: fail });
    // Every file reaches the disk, so that what the journal holds may go.
    const checkpoint = async () => {
      await db.exec("checkpoint");
      await flushFolder(data.folder);
    };
    const attempt = async (kind: "checkpointed" | "closed", work: () => Promise<void>) => {
      try {
        await work();
        tell({ kind });
      } catch (error) {
        tell({ kind, error: error instanceof Error ? error.message : String(error) });
      }
    };
    port?.on("message", (request: PgliteWorkerRequest) => {
      if (request.kind === "checkpoint") void attempt("checkpointed", checkpoint);
      else {
        void attempt("closed", async () => {
          await server.close();
          await db.exec("checkpoint");
          await db.close();
          await flushFolder(data.folder);
        }).finally(() => port?.close());
      }
    });
    tell({ kind: "ready", port: data.address === null ? 0 : await server.listen(data.address) });
  } catch (error) {
    fail(error);
    port?.close();
  }
}
