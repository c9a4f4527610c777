/** Names that examples may use without declaring them (scripts/check-examples.ts): what a host application has at hand. */
declare const clara: import("clara-sdk").Clara;
declare const store: import("clara-sdk").Store;
declare const runtime: import("clara-sdk").LocalRuntime;
declare const signal: AbortSignal;
declare const token: string;
declare const user: { id: string };
/** Id of whatever the example is about. */
declare const id: string;
declare const text: string;
/** What users ask. */
declare const questions: string[];
declare const samples: import("clara-sdk").Sample[];
declare const judged: import("clara-sdk").JudgedQuery[];
declare const reply: import("clara-sdk").GenerationResult;
declare const vllm: import("clara-sdk").LocalVllm;
/** Parts that are constructed alone. */
declare const client: import("clara-sdk").RuntimeHttpClient;
declare const spec: import("clara-sdk").RuntimeSpec;
declare const backend: import("clara-sdk").TrainingBackend;
declare const generations: import("clara-sdk").GenerationLog;
declare const registry: import("clara-sdk").AdapterRegistry;
declare const embedder: import("clara-sdk").Embedder;
declare const index: import("clara-sdk").DuplicateIndex;
/** Clients or addresses of your own databases. */
declare const connections: import("clara-sdk/uds3").Uds3Options;
declare const uds3: import("clara-sdk/uds3").Uds3;
