import { type Clara, type ClaraOptions, createClara } from "../clara.js";

/** Options that every command which opens the store takes. */
export const connectionArgs = {
  database: { type: "string", description: "Connection string of your Postgres; default: $CLARA_DATABASE_URL", valueHint: "URL" },
  data: { type: "string", default: ".clara", description: "Folder of the embedded database, where no Postgres is named", valueHint: "DIR" },
  runtime: { type: "string", description: "URL of a running runtime; default: $CLARA_RUNTIME_URL, else a local process", valueHint: "URL" },
  model: { type: "string", description: "Base model: a folder or a hub id; default: the tiny base", valueHint: "MODEL" },
  json: { type: "boolean", description: "Print JSON", default: false },
} as const;

interface ConnectionArgs {
  database?: string;
  data: string;
  runtime?: string;
  model?: string;
}

/** Opens CLARA as the options and the environment say. */
export function connect(args: ConnectionArgs, options: ClaraOptions & { signal?: AbortSignal } = {}): Promise<Clara> {
  const { signal, ...rest } = options;
  const database = args.database ?? process.env.CLARA_DATABASE_URL;
  const runtimeUrl = args.runtime ?? process.env.CLARA_RUNTIME_URL;
  return createClara(
    {
      database: database ?? { dataDir: args.data },
      ...(runtimeUrl ? { runtime: { url: runtimeUrl, token: process.env.CLARA_RUNTIME_TOKEN } } : {}),
      ...(args.model ? { baseModel: args.model } : {}),
      ...rest,
    },
    { signal },
  );
}
