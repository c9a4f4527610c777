/** A host application that uses the local runtime: `host.ts ROOT`. Prints `runtime PID URL`, then idles until it is killed. */
import { LocalRuntime } from "../../../src/runtime/local-runtime.js";

const [root = ""] = process.argv.slice(2);
const runtime = new LocalRuntime({ root, env: { OMP_NUM_THREADS: "1" } });
const { url } = await runtime.resolve();
process.stdout.write(`runtime ${runtime.pid} ${url}\n`);
setInterval(() => {}, 1000);
