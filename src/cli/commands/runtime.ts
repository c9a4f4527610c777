import { defineCommand } from "citty";
import { findRuntime, LocalRuntime, tinyBaseModel } from "../../runtime/index.js";
import { ensureRuntime } from "../ensure-runtime.js";
import { ExitCode, guarded, print, say } from "../terminal.js";

const json = { type: "boolean", description: "Print JSON", default: false } as const;
const engine: { type: "enum"; options: ["local", "vllm"]; default: "local"; description: string } = {
  type: "enum",
  options: ["local", "vllm"],
  default: "local",
  description: "Which engine's packages are needed",
};

const install = defineCommand({
  meta: { name: "install", description: "Make the Python environment (cached, pinned versions)" },
  args: { engine, json, dev: { type: "boolean", default: false, description: "Also what the runtime's own tests need" } },
  run: ({ args }) =>
    guarded(async (signal) => {
      const environment = await ensureRuntime({ engine: args.engine, dev: args.dev, signal });
      print(environment, { json: args.json, text: () => `The runtime is ready: ${environment.python}` });
      return ExitCode.ok;
    }),
});

const status = defineCommand({
  meta: { name: "status", description: "Where the Python environment is" },
  args: { engine, json },
  run: ({ args }) =>
    guarded(async () => {
      const environment = await findRuntime({ engine: args.engine });
      print(environment ?? { installed: false }, {
        json: args.json,
        text: () => (environment ? `Installed: ${environment.python}` : "Not installed: run `clara runtime install`."),
      });
      return environment ? ExitCode.ok : ExitCode.failed;
    }),
});

const up = defineCommand({
  meta: { name: "up", description: "Run the runtime in the foreground until it is stopped" },
  args: {
    root: { type: "string", default: ".clara/runtime", description: "Folder of data sets, adapters and checkpoints", valueHint: "DIR" },
    model: { type: "string", description: "Base model to serve: a folder or a hub id; default: the tiny base", valueHint: "MODEL" },
    port: { type: "string", default: "45680", description: "Port on 127.0.0.1" },
  },
  run: ({ args }) =>
    guarded(async (signal) => {
      await ensureRuntime({ engine: "local", signal });
      await using runtime = new LocalRuntime({ root: args.root, model: args.model ?? tinyBaseModel(), args: ["--port", args.port] });
      const endpoint = await runtime.resolve({ signal });
      say(`The runtime answers at ${endpoint.url}; its token: ${endpoint.token ?? "none"}. Stop it with Ctrl-C.`);
      await new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => resolve());
      });
      return ExitCode.ok;
    }),
});

export const runtime = defineCommand({
  meta: { name: "runtime", description: "The GPU runtime on this machine" },
  subCommands: { install, status, up },
});
