import { findPersonalData, PERSONAL_DATA_DEFAULTS, type PersonalDataOptions } from "../../support/personal-data.js";
import type { QualityCheck } from "../../types/index.js";

/** How samples are looked through for personal data. */
export interface PersonalDataCheckOptions extends Partial<PersonalDataOptions> {
  /** `note` (default): the report names what was found, and the sample scores lower; `reject`: it is refused. */
  action?: "note" | "reject";
}

/** The personal data check over question and answer. Its reason names kinds and never the data. */
export function checkPersonalData(sample: { prompt: string; response: string }, options: PersonalDataCheckOptions): QualityCheck {
  const { action = "note", ...chosen } = options;
  const looked = { ...PERSONAL_DATA_DEFAULTS, ...chosen };
  const found = (
    [
      ["question", sample.prompt],
      ["answer", sample.response],
    ] as const
  ).flatMap(([what, text]) => {
    const kinds = [...new Set(findPersonalData(text, looked).map(({ kind }) => kind))];
    return kinds.length === 0 ? [] : [`the ${what} holds personal data: ${kinds.join(", ")}`];
  });
  if (found.length === 0) return { name: "personal_data", score: 1, passed: true };
  const reason = found.join("; ");
  if (action === "note") return { name: "personal_data", score: 0.5, passed: true, reason };
  return { name: "personal_data", score: 0, passed: false, code: "personal_data", reason };
}
