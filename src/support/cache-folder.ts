import { homedir } from "node:os";
import { join } from "node:path";

/** Where CLARA keeps what it can make again: `CLARA_CACHE_DIR`, `$XDG_CACHE_HOME/clara-sdk`, or `~/.cache/clara-sdk`. */
export function cacheFolder(): string {
  return process.env.CLARA_CACHE_DIR || join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "clara-sdk");
}
