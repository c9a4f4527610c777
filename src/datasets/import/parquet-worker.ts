/** The thread in which Parquet is decoded: a damaged file can keep the decoder busy for ever, or ask for more memory than there is. */
import { parentPort, workerData } from "node:worker_threads";
import { readParquetRecords } from "./parquet-records.js";
import type { SourceRecord } from "./record.js";

/** What the thread is started with: threads of a process share its open files. */
export interface ParquetWorkerData {
  descriptor: number;
}

/** What the thread answers each time it is asked for more; no records: that was all. */
export type ParquetWorkerMessage = { records: SourceRecord[] } | { error: string };

/** Records of one answer. */
const BATCH = 1000;

const port = parentPort;
if (port !== null) {
  const records = readParquetRecords((workerData as ParquetWorkerData).descriptor);
  port.on("message", async () => {
    port.postMessage(await nextOf(records).catch((error: unknown) => ({ error: error instanceof Error ? error.message : String(error) })));
  });
}

async function nextOf(source: AsyncIterator<SourceRecord>): Promise<ParquetWorkerMessage> {
  const records: SourceRecord[] = [];
  while (records.length < BATCH) {
    const result = await source.next();
    if (result.done) break;
    records.push(result.value);
  }
  return { records };
}
