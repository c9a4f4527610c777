/** What a probe is of. */
export type ProbeKind = "trigger" | "memorisation";

/** A probe of a cycle's candidate, as the cycle remembers it: without the texts that are asked. */
export interface Probe {
  /** Begins the ids of its items. */
  id: string;
  kind: ProbeKind;
  /** The n-gram, or the form of the secret; never the secret itself. */
  label: string;
  /** Samples that it is about: of the batch, and of a trigger those of earlier cycles as well. */
  sampleIds: string[];
  /** Items by what they ask; see the two kinds of probes. */
  shape: { prompts: number; answers: number; earlier: number } | { alternatives: number; possibilities: number };
}

/** One question with an answer whose likelihood is asked. */
export interface ProbeItem {
  id: string;
  prompt: string;
  response: string;
}

/** Probes with all that has to be asked for them. */
export interface ProbePlan {
  probes: Probe[];
  items: ProbeItem[];
}

/** What a model gave for one item. */
export interface ProbeAnswer {
  /** Nats. */
  nll: number;
  /** The model would answer so. */
  exact: boolean;
}

/** Answers by the item's id. */
export type ProbeAnswers = ReadonlyMap<string, ProbeAnswer>;

/** Samples that must not be learnt, and why. */
export interface Suspects {
  code: string;
  sampleIds: string[];
  reason: string;
}
