import { mkdir, open, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";

const Line = z.object({ id: z.string(), pipeline: z.string(), subjectHash: z.string(), createdAt: z.iso.datetime() });
/** An erasure as a file keeps it: without the person's name. */
export type LoggedErasure = z.infer<typeof Line>;

/** A file of erasures outside of the database: a backup of that, once it is restored, has forgotten those that came after it. */
export class ErasureLog {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** Resolves when it is on the disk. */
  async append(erasure: LoggedErasure): Promise<void> {
    await mkdir(dirname(this.#path), { recursive: true });
    const file = await open(this.#path, "a", 0o600);
    try {
      // the newline comes first, so that a line that a crash cut off spoils none but itself
      await file.appendFile(`\n${JSON.stringify(erasure)}`);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /** Those of a pipeline, each once, in the order of the file. */
  async read(pipeline: string): Promise<LoggedErasure[]> {
    const text = await readFile(this.#path, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return "";
      throw error;
    });
    const erasures = new Map<string, LoggedErasure>();
    for (const line of text.split("\n")) {
      const erasure = readLine(line);
      if (erasure?.pipeline === pipeline) erasures.set(erasure.id, erasure);
    }
    return [...erasures.values()];
  }
}

/** Null for one that was cut off: its erasure was not acknowledged. */
function readLine(line: string): LoggedErasure | null {
  try {
    return Line.parse(JSON.parse(line));
  } catch {
    return null;
  }
}
