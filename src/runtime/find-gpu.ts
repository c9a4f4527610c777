import { execa } from "execa";
import type { CallOptions } from "../types/common.js";
import { childEnvironment } from "./child-environment.js";

/** True where `nvidia-smi` lists a GPU. */
export async function hasNvidiaGpu(options: CallOptions = {}): Promise<boolean> {
  const result = await execa("nvidia-smi", ["--list-gpus"], {
    reject: false,
    timeout: 15_000,
    env: childEnvironment(),
    extendEnv: false,
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
  });
  return !result.failed && /GPU \d/.test(result.stdout);
}
