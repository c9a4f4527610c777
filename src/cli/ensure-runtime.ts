import { findRuntime, installRuntime, type RuntimeEnvironment } from "../runtime/index.js";
import { bar, liveProgress } from "./progress.js";

/** The Python environment of the runtime, installed now where it is missing. */
export async function ensureRuntime(options: {
  engine: "local" | "vllm";
  dev?: boolean;
  signal?: AbortSignal;
}): Promise<RuntimeEnvironment> {
  const found = await findRuntime(options);
  if (found) return found;
  const progress = liveProgress();
  progress.step("Install the runtime's Python environment (once; kept in the cache folder)");
  try {
    return await installRuntime({
      ...options,
      onProgress: ({ message, percent }) => progress.detail(`${bar(percent)} ${message}`),
    });
  } finally {
    progress.end();
  }
}
