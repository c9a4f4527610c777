import { readFile, readlink } from "node:fs/promises";

/** Which processes this process can see (boot and process namespace), or null where the platform does not say. */
export async function processSpace(): Promise<string | null> {
  try {
    const [boot, namespace] = await Promise.all([readFile("/proc/sys/kernel/random/boot_id", "utf8"), readlink("/proc/self/ns/pid")]);
    return `${boot.trim()} ${namespace}`;
  } catch {
    // No /proc: not known.
    return null;
  }
}

/** Start time of a running process, which tells it from an earlier one with the same id; null where none runs. */
export async function processStart(pid: number): Promise<string | null> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    // Field 22 of proc(5); the name in field 2 may itself contain spaces and brackets.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const isDead = fields[0] === "Z" || fields[0] === "X";
    return isDead ? null : (fields[19] ?? null);
  } catch {
    // No such process.
    return null;
  }
}
