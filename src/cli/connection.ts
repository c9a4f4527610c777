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
