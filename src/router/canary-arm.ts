import { hash } from "node:crypto";
import type { Canary, CanaryArm } from "../types/canary.js";

const HASH_HEX_DIGITS = 12;

/** Who answers: the same for the same person as long as the canary runs, independent of other canaries; by chance where nobody is named. */
export function armOf(canary: Pick<Canary, "id" | "share">, subjectId: string | undefined, random: () => number): CanaryArm {
  const point = subjectId === undefined ? random() : pointOf(canary.id, subjectId);
  return point < canary.share ? "canary" : "incumbent";
}

/** 0..1, evenly spread over people. */
function pointOf(canaryId: string, subjectId: string): number {
  const digits = hash("sha256", `${canaryId}\0${subjectId}`, "hex").slice(0, HASH_HEX_DIGITS);
  return Number.parseInt(digits, 16) / 16 ** HASH_HEX_DIGITS;
}
