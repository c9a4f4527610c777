import { readFile } from "node:fs/promises";

/** What tells a running process from an earlier one with the same id (boot and start time), or null where it does not run or the platform does not say. */
export async function processStart(pid: number): Promise<string | null> {
  try {
    const [stat, boot] = await Promise.all([readFile(`/proc/${pid}/stat`, "utf8"), readFile("/proc/sys/kernel/random/boot_id", "utf8")]);
    // Field 22 of proc(5); the name in field 2 may itself contain spaces and brackets.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const isZombie = fields[0] === "Z";
    return isZombie ? null : `${boot.trim()}:${fields[19]}`;
  } catch {
    // No such process, or no /proc: not known.
    return null;
  }
}
