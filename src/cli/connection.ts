import { type Clara, type ClaraOptions, createClara } from "../clara.js";
import { loadConfig } from "../config/index.js";
import { say } from "./terminal.js";

/** Options that every command which opens the store takes. */
export const connectionArgs = {
  config: { type: "string", description: "Configuration file (YAML); the options here go before it", valueHint: "FILE" },
  database: { type: "string", description: "Connection string of your Postgres; default: $CLARA_DATABASE_URL", valueHint: "URL" },
  data: { type: "string", default: ".clara", description: "Folder of the embedded database, where no Postgres is named", valueHint: "DIR" },
  runtime: { type: "string", description: "URL of a running runtime; default: $CLARA_RUNTIME_URL, else a local process", valueHint: "URL" },
  model: { type: "string", description: "Base model: a folder or a hub id; default: the tiny base", valueHint: "MODEL" },
  json: { type: "boolean", description: "Print JSON", default: false },
} as const;

/** Options that name the engines which answer, where it is not the runtime. */
export const engineArgs = {
  engine: { type: "string", default: "vllm", description: "Kind of these: vllm, runtime, ollama or openai-compatible", valueHint: "KIND" },
  endpoints: {
    type: "string",
    description: "URLs of the engines that serve, separated by commas; default: the runtime. Their token: $CLARA_ENGINE_TOKEN",
    valueHint: "URL,URL",
  },
  "base-model": { type: "string", description: "Name under which they serve the base model; default: base", valueHint: "NAME" },
} as const;

interface EngineArgs {
  engine: string;
  endpoints?: string;
  "base-model"?: string;
}

/** The engines that the options name; none: the runtime serves. */
export function servingOf({ engine, endpoints, "base-model": baseModel }: EngineArgs): Pick<ClaraOptions, "serving"> {
  if (endpoints === undefined) return {};
  // what is no kind of engine is refused, and named, by the client
  const kind = engine as NonNullable<ClaraOptions["serving"]>["engine"];
  const urls = endpoints.split(",").map((url) => url.trim());
  return { serving: { engine: kind, endpoints: urls, baseModel, token: process.env.CLARA_ENGINE_TOKEN } };
}

interface ConnectionArgs {
  config?: string;
  database?: string;
  data: string;
  runtime?: string;
  model?: string;
}

/** Opens CLARA as the configuration file, the options and the environment say. Only a worker runs the pipeline's triggers. */
export async function connect(args: ConnectionArgs, options: ClaraOptions & { signal?: AbortSignal } = {}): Promise<Clara> {
  const { signal, ...rest } = options;
  const { notes = [], ...config } = args.config === undefined ? {} : await readConfig(args.config, signal);
  if (notes.length > 0)
    say(`Settings of ${args.config} without effect here: ${notes.length}. \`clara doctor --config ${args.config}\` names them.`);
  const database = args.database ?? process.env.CLARA_DATABASE_URL;
  const runtimeUrl = args.runtime ?? process.env.CLARA_RUNTIME_URL;
  return createClara(
    {
      ...config,
      database: database ?? { dataDir: args.data },
      ...(runtimeUrl ? { runtime: { url: runtimeUrl, token: process.env.CLARA_RUNTIME_TOKEN } } : {}),
      ...(args.model ? { baseModel: args.model } : {}),
      ...rest,
      startPipeline: rest.worker !== false && config.startPipeline,
    },
    { signal },
  );
}

/** The commands open no port, so that nothing of the section `security` is theirs to enforce. */
export function readConfig(file: string, signal: AbortSignal | undefined): Promise<ClaraOptions> {
  return loadConfig(file, { enforcedByHost: ["jwt_enabled", "rate_limiting", "https_only"], signal });
}
