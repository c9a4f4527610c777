/**
 * A worker process for the crash tests: `worker.ts DATABASE_URL RUNTIME_URL`. Prints `ready PID`, then works until it is
 * killed or its standard input ends.
 */
import { once } from "node:events";
import { RemoteRuntime } from "../../../src/runtime/remote-runtime.js";
import { openStore } from "../../../src/store/index.js";
import { RuntimeBackend } from "../../../src/training/runtime-backend.js";
import { TrainingClient } from "../../../src/training/training-client.js";
import { datasetsOf, officeItems } from "./datasets.js";

const [database = "", url = ""] = process.argv.slice(2);
const store = await openStore({ database });
const backend = new RuntimeBackend(new RemoteRuntime({ url }));
const training = new TrainingClient({ store, backend, datasets: datasetsOf({ office: officeItems() }), baseModel: "base" });
await training.startWorker();
process.stdout.write(`ready ${process.pid}\n`);
process.stdin.resume();
await once(process.stdin, "end");
await training.close();
await backend.close();
await store.close();
